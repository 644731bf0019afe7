import type { LostConnection } from '../evidence/lost-connection.js';

/** Why no further hedge of a call is sent. */
export type NoHedgeReason =
  | 'attempts-exhausted'
  | 'pushback'
  | 'throttled'
  /** The circuit of its method opened meanwhile. */
  | 'circuit-open'
  /** Hedges are at their share of calls. */
  | 'hedge-budget'
  /** It would be sent after the deadline. */
  | 'deadline'
  | 'draining'
  /** The call serves a retry. */
  | 'retry-chain';

/** What a hedged call has come to. Times are monotonic milliseconds. */
export interface HedgeState {
  /** Attempts that were sent, the first included. */
  readonly sent: number;
  readonly inFlight: number;
  /** When the next attempt is to be sent; Infinity: no further one. */
  readonly dueAt: number;
  /** A server asked that none be sent earlier; −Infinity: none did. */
  readonly notBefore: number;
  /** The next attempt stands in for one that failed, where else it is sent because those in flight are slow. */
  readonly replaces: boolean;
  /** The connection with which the attempt failed that the next one replaces; `undefined` if it failed for another reason. */
  readonly lostWith: LostConnection | undefined;
  readonly stopped: NoHedgeReason | undefined;
  /** Attempts that were never sent. */
  readonly unsent: number;
  /** The one transparent retry of the call has been used (gRFC A6). */
  readonly resent: boolean;
}

/** A call of which nothing was sent yet. */
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
