/** Lengths that decide what an outage is, in milliseconds. */
export interface OutagePolicy {
  /** How long calls wait in an outage before they fail. */
  readonly graceMs: number;
  /** READY for this long ends an outage without an answer. */
  readonly confirmMs: number;
  /** A connection that lived shorter, without an answer, was a failed try. */
  readonly shortLivedMs: number;
  /** From so many outages within `flapWindowMs` on they share one grace. */
  readonly flapCount: number;
  readonly flapWindowMs: number;
}

/** All but the grace, which is an option of the client. */
export const DEFAULT_OUTAGE_POLICY: Omit<OutagePolicy, 'graceMs'> = {
  confirmMs: 1_000,
  shortLivedMs: 1_000,
  flapCount: 3,
  flapWindowMs: 60_000,
};

/** A time without a server: from the first failed try to connect until one is proved to be there. Times are monotonic. */
export interface Outage {
  readonly startedAt: number;
  readonly graceEndsAt: number;
  /** Failed tries to connect so far. */
  readonly tries: number;
  readonly flapping: boolean;
  /** The channel is READY since then, which proves nothing yet. */
  readonly readySince: number | undefined;
}

/** An outage that is over. */
export interface PastOutage {
  readonly startedAt: number;
  readonly endedAt: number;
}

/** What is remembered of outages. */
export interface OutageState {
  readonly current: Outage | undefined;
  /** Those of the last minute that are over, as far as they matter for flapping. */
  readonly past: readonly PastOutage[];
}

/** What an outage may begin, go on or end with. */
export type OutageEvent =
  /** A try to connect failed. */
  | { readonly type: 'attempt-failed'; readonly at: number }
  /** The channel became READY. */
  | { readonly type: 'ready'; readonly at: number }
  /** An established connection ended; `answered`: the server had answered a call on it. */
  | { readonly type: 'connection-ended'; readonly at: number; readonly livedMs: number; readonly answered: boolean }
  /** A call got an answer made by the server. */
  | { readonly type: 'answered'; readonly at: number }
  /** The channel has been READY for `confirmMs`. */
  | { readonly type: 'ready-lasted'; readonly at: number };

/** Nothing has gone wrong yet. */
export const NO_OUTAGE: OutageState = { current: undefined, past: [] };

/** Whether an outage is on in which calls still wait. */
export function insideGrace(state: OutageState, now: number): boolean {
  return state.current !== undefined && now < state.current.graceEndsAt;
}
