import type { ActiveCall } from './active-call.js';

/** A client as whoever looks for what was left open needs it. */
export interface OpenClient {
  readonly name: string;
  readonly target: string;
  activeCalls(): readonly ActiveCall[];
}

/** Every client of this process from its making until it is closed: a test finds by it what it has left open. */
export const OPEN_CLIENTS = new Set<OpenClient>();
