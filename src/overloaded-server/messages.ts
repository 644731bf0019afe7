import { PATIENCE } from '../patience.js';

/** Work of a call in milliseconds of CPU time. */
export const WORK_MS = 5;

/** Deadline of each call, and timeout of the interceptor of the tuned server. */
export const DEADLINE_MS = 1_000 * PATIENCE;

/** Server implementations: Nest's own, Nest's own with a timeout in an interceptor, and ours. */
export type OverloadedServerKind = 'plain' | 'tuned' | 'resilient';

/** A command to the server. `count` requests the counts since the last request. */
export interface OverloadedServerCommand {
  readonly type: 'count';
}

/** A notice of the server. */
export type OverloadedServerNotice =
  | { readonly type: 'listening' }
  /** `ranExpired`: number of handlers that started after the deadline of their call. */
  | { readonly type: 'counts'; readonly ran: number; readonly ranExpired: number };
