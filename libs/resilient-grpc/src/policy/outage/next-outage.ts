import { SHORT_LIVED_MS } from '../reconnect/reconnect-times.js';

/** Time in READY, in milliseconds, after which an outage ends even if no response has arrived. */
export const CONFIRM_MS = 1_000;
/** Number of outages within `FLAP_WINDOW_MS` at which they start to share one grace period. */
export const FLAP_COUNT = 3;
const FLAP_WINDOW_MS = 60_000;

/** Period without a server: from the first failed connection attempt until a server is confirmed. Times are monotonic milliseconds. */
export interface Outage {
  readonly startedAt: number;
  readonly graceEndsAt: number;
  readonly connectAttempts: number;
  readonly flapping: boolean;
  /** Time at which the channel became READY; `undefined` if it is not READY. READY alone does not confirm a server. */
  readonly readySince: number | undefined;
}

export interface OutageInterval {
  readonly startedAt: number;
  readonly endedAt: number;
}

export interface OutageState {
  readonly current: Outage | undefined;
  /** At most 60 past outages, to detect flapping. Those that started more than `FLAP_WINDOW_MS` ago are dropped when the next one starts. */
  readonly past: readonly OutageInterval[];
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

export const NO_OUTAGE: OutageState = { current: undefined, past: [] };

/** True during an outage whose grace period has not expired. Calls wait during that time. */
export function insideGrace(state: OutageState, now: number): boolean {
  return state.current !== undefined && now < state.current.graceEndsAt;
}

/** Maximum number of past outages kept. If more occur in a minute, only the latest ones shorten the shared grace period. */
const MAX_KEPT_OUTAGES = 60;

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
      return endOutage(state, event.at);
    case 'ready-lasted': {
      const since = state.current?.readySince;
      return since !== undefined && event.at - since >= CONFIRM_MS ? endOutage(state, event.at) : state;
    }
    case 'connection-ended':
      // A server that closes each connection right after it sends SETTINGS makes the channel READY briefly. Such a connection counts as a
      // failed attempt, so that an outage starts or continues.
      if (!event.answered && event.livedMs < SHORT_LIVED_MS) return afterFailedAttempt(state, event.at, graceMs);
      return endOutage(state, event.at);
  }
}

function afterFailedAttempt(state: OutageState, at: number, graceMs: number): OutageState {
  const { current } = state;
  if (current)
    return { ...state, current: { ...current, connectAttempts: current.connectAttempts + 1, readySince: undefined } };

  const past = state.past.filter(({ startedAt }) => at - startedAt < FLAP_WINDOW_MS);
  const flapping = past.length + 1 >= FLAP_COUNT;
  // Outages of a flapping server share one grace period, and each past outage shortens it by the duration of that outage. A rolling deploy
  // with short gaps stays within the grace period. Callers of an unstable server do not wait for the full grace period in every outage.
  const usedMs = flapping ? past.reduce((sum, { startedAt, endedAt }) => sum + endedAt - startedAt, 0) : 0;
  const graceEndsAt = at + Math.max(0, graceMs - usedMs);
  return { current: { startedAt: at, graceEndsAt, connectAttempts: 1, flapping, readySince: undefined }, past };
}

function endOutage(state: OutageState, at: number): OutageState {
  const { current } = state;
  if (!current) return state;
  return {
    current: undefined,
    past: [...state.past, { startedAt: current.startedAt, endedAt: at }].slice(-MAX_KEPT_OUTAGES),
  };
}
