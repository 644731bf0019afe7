import { SHORT_LIVED_MS } from '../reconnect/reconnect-times.js';

/** Time in READY, in milliseconds, after which an outage ends even if no response has arrived. */
export const CONFIRM_MS = 1_000;
/** Number of outages within `FLAP_WINDOW_MS` at which they start to share one grace period. */
export const FLAP_COUNT = 3;
const FLAP_WINDOW_MS = 60_000;
/** Share of the time between two outages that earlier ones give back of the grace period that they have used. */
const EARNED_BACK = 1 / 2;

/** Period without a server: from the first failed connection attempt until a server is confirmed. Times are monotonic milliseconds. */
export interface Outage {
  readonly startedAt: number;
  readonly graceEndsAt: number;
  readonly connectAttempts: number;
  readonly flapping: boolean;
  /** Time at which the channel became READY; `undefined` if it is not READY. READY alone does not confirm a server. */
  readonly readySince: number | undefined;
}

export interface OutageState {
  readonly current: Outage | undefined;
  /** Starts of the latest outages, at most `FLAP_COUNT` − 1, to detect flapping. */
  readonly starts: readonly number[];
  /** Milliseconds of the grace period that outages had used at the end of the last one, and that end. */
  readonly usedMs: number;
  readonly endedAt: number;
}

export type OutageEvent =
  | { readonly type: 'attempt-failed'; readonly at: number }
  | { readonly type: 'ready'; readonly at: number }
  /**
   * An established connection closed. `answered` is true if the server responded to a call after the connection was established, on this
   * connection or another one.
   */
  | { readonly type: 'connection-ended'; readonly at: number; readonly livedMs: number; readonly answered: boolean }
  | { readonly type: 'answered'; readonly at: number }
  | { readonly type: 'ready-lasted'; readonly at: number };

export const NO_OUTAGE: OutageState = { current: undefined, starts: [], usedMs: 0, endedAt: 0 };

/** True during an outage whose grace period has not expired. Calls wait during that time. */
export function insideGrace(state: OutageState, now: number): boolean {
  return state.current !== undefined && now < state.current.graceEndsAt;
}

/**
 * Returns the state after `event`, or the same object if nothing changes.
 *
 * @param graceMs maximum time that calls without `waitForReady` wait during an outage before they fail, in milliseconds
 */
export function nextOutage(state: OutageState, event: OutageEvent, graceMs: number): OutageState {
  switch (event.type) {
    case 'attempt-failed':
      return afterFailedAttempt(state, event.at, graceMs);
    case 'ready':
      // Each new picker reports READY again; only the first report counts.
      return state.current && state.current.readySince === undefined
        ? { ...state, current: { ...state.current, readySince: event.at } }
        : state;
    case 'answered':
      return endOutage(state, event.at, graceMs);
    case 'ready-lasted': {
      const since = state.current?.readySince;
      return since !== undefined && event.at - since >= CONFIRM_MS ? endOutage(state, event.at, graceMs) : state;
    }
    case 'connection-ended':
      // A server that closes each connection right after it sends SETTINGS makes the channel READY briefly. Such a connection counts as a
      // failed attempt, so that an outage starts or continues.
      if (!event.answered && event.livedMs < SHORT_LIVED_MS) return afterFailedAttempt(state, event.at, graceMs);
      return endOutage(state, event.at, graceMs);
  }
}

function afterFailedAttempt(state: OutageState, at: number, graceMs: number): OutageState {
  const { current } = state;
  if (current)
    return { ...state, current: { ...current, connectAttempts: current.connectAttempts + 1, readySince: undefined } };

  const [first] = state.starts;
  const isFlapping = first !== undefined && state.starts.length + 1 >= FLAP_COUNT && at - first < FLAP_WINDOW_MS;
  // Outages of a flapping server share one grace period, and time without an outage gives it back: a server that restarts again and again
  // is worth waiting for as long as it serves in between, and callers of one that hardly does wait only once.
  const graceEndsAt = at + graceMs - (isFlapping ? usedMs(state, at) : 0);
  return {
    ...state,
    current: { startedAt: at, graceEndsAt, connectAttempts: 1, flapping: isFlapping, readySince: undefined },
  };
}

/** Milliseconds of the grace period that earlier outages have used and not given back. */
function usedMs(state: OutageState, at: number): number {
  return Math.max(0, state.usedMs - EARNED_BACK * (at - state.endedAt));
}

function endOutage(state: OutageState, at: number, graceMs: number): OutageState {
  const { current, starts } = state;
  if (!current) return state;
  const { startedAt } = current;
  return {
    current: undefined,
    starts: [...starts, startedAt].slice(1 - FLAP_COUNT),
    usedMs: Math.min(usedMs(state, startedAt) + at - startedAt, graceMs),
    endedAt: at,
  };
}
