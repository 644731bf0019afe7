import { PATIENCE } from '../patience.js';

/** CPU time that each call uses, in milliseconds. */
export const WORK_MS = 5;

/** Deadline of each call, and timeout of the tuned server's interceptor. */
export const DEADLINE_MS = 1_000 * PATIENCE;

/** Server implementations: Nest's own, Nest's own with a timeout in an interceptor, and ours. */
export const OVERLOADED_SERVER_KINDS = ['plain', 'tuned', 'resilient'] as const;
export type OverloadedServerKind = (typeof OVERLOADED_SERVER_KINDS)[number];

/** A command to the server. `count` requests the counts since the previous `count`. */
export interface OverloadedServerCommand {
  readonly type: 'count';
}

/** A notice from the server. */
export type OverloadedServerNotice =
  | { readonly type: 'listening' }
  /** `ranExpired`: number of handlers that started after the deadline of their call. */
  | { readonly type: 'counts'; readonly ran: number; readonly ranExpired: number };
