import type { RegisteredCall } from './call/call-registry.js';

/** A client as whoever looks for what was left open needs it. */
export interface OpenClient {
  readonly name: string;
  readonly target: string;
  /** Its calls that are open. */
  readonly registry: Iterable<RegisteredCall>;
}

// Weakly: a client that is dropped without a close may be collected as it could be without this list, which is for tests alone.
const OPEN = new Set<WeakRef<OpenClient>>();
const COLLECTED = new FinalizationRegistry<WeakRef<OpenClient>>((mark) => OPEN.delete(mark));

/** A client of this process has been made; gives what `markClosed` takes. */
export function markOpen(client: OpenClient): WeakRef<OpenClient> {
  const mark = new WeakRef(client);
  OPEN.add(mark);
  COLLECTED.register(client, mark);
  return mark;
}

/** It was closed. */
export function markClosed(mark: WeakRef<OpenClient>): void {
  OPEN.delete(mark);
}

/** Clients of this process that were not closed: a test finds by them what it has left open. */
export function openClients(): readonly OpenClient[] {
  return [...OPEN].flatMap((mark) => mark.deref() ?? []);
}
