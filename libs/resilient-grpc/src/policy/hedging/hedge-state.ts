import type { LostConnection } from '../evidence/lost-connection.js';

/** Reason why no further attempt of a hedged call is sent. */
export type NoHedgeReason =
  | 'attempts-exhausted'
  | 'pushback'
  | 'throttled'
  /** The circuit of the method opened during the call. */
  | 'circuit-open'
  /** An attempt could not be started on this side: its metadata or an interceptor failed. */
  | 'local'
  /** Hedges have reached their share of calls. */
  | 'hedge-budget'
  /** The attempt would be sent after the deadline. */
  | 'deadline'
  | 'draining'
  /** The call serves an inbound retry. */
  | 'retry-chain';

/** State of a hedged call. Times are monotonic milliseconds. */
export interface HedgeState {
  /** Attempts sent, including the first. */
  readonly sent: number;
  readonly inFlight: number;
  /** Time at which the next attempt is due; Infinity if there is none. */
  readonly dueAt: number;
  /** Earliest time for the next attempt, set by pushback or backoff; −Infinity if there is none. */
  readonly notBefore: number;
  /** True if the next attempt replaces a failed one; false if it is sent because the attempts in flight are slow. */
  readonly replaces: boolean;
  /** Connection whose loss failed the attempt that the next one replaces; `undefined` if that attempt failed for another reason. */
  readonly lostWith: LostConnection | undefined;
  readonly stopped: NoHedgeReason | undefined;
  /** Attempts that were never sent. */
  readonly unsent: number;
  /** True if the call has used its one transparent retry (gRFC A6). */
  readonly resent: boolean;
}

/** State of a call before its first attempt. */
export const UNSENT: HedgeState = {
  sent: 0,
  inFlight: 0,
  dueAt: -Infinity,
  notBefore: -Infinity,
  replaces: false,
  lostWith: undefined,
  stopped: undefined,
  unsent: 0,
  resent: false,
};
