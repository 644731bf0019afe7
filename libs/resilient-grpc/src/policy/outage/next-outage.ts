import type { OutageEvent, OutagePolicy, OutageState } from './outage-state.js';

/** Maximum number of past outages kept; with more in a minute, no grace is left. */
const MAX_KEPT_OUTAGES = 60;

/** Returns the state after `event`, or the same object if nothing changes. */
export function nextOutage(state: OutageState, event: OutageEvent, policy: OutagePolicy): OutageState {
  switch (event.type) {
    case 'attempt-failed':
      return failedTry(state, event.at, policy);
    case 'ready':
      // Each new picker reports READY again; only the first report counts.
      return state.current && state.current.readySince === undefined
        ? { ...state, current: { ...state.current, readySince: event.at } }
        : state;
    case 'answered':
      return over(state, event.at);
    case 'ready-lasted': {
      const since = state.current?.readySince;
      return since !== undefined && event.at - since >= policy.confirmMs ? over(state, event.at) : state;
    }
    case 'connection-ended':
      // A server that closes each connection right after its SETTINGS makes the channel READY for a moment. Without this rule
      // every connection would reset the backoff, which allows 150 connections per second.
      if (!event.answered && event.livedMs < policy.shortLivedMs) return failedTry(state, event.at, policy);
      if (event.answered || event.livedMs >= policy.confirmMs) return over(state, event.at);
      return state;
  }
}

function failedTry(state: OutageState, at: number, policy: OutagePolicy): OutageState {
  const { current } = state;
  if (current)
    return { ...state, current: { ...current, connectAttempts: current.connectAttempts + 1, readySince: undefined } };

  const past = state.past.filter(({ startedAt }) => at - startedAt < policy.flapWindowMs);
  const flapping = past.length + 1 >= policy.flapCount;
  // Outages of a flapping server share one grace, and each consumes its duration. A rolling deploy with short gaps stays within
  // the grace. Callers of an unstable server do not wait the full grace in every outage.
  const usedMs = flapping ? past.reduce((sum, { startedAt, endedAt }) => sum + endedAt - startedAt, 0) : 0;
  const graceEndsAt = at + Math.max(0, policy.graceMs - usedMs);
  return { current: { startedAt: at, graceEndsAt, connectAttempts: 1, flapping, readySince: undefined }, past };
}

function over(state: OutageState, at: number): OutageState {
  const { current } = state;
  if (!current) return state;
  return {
    current: undefined,
    past: [...state.past, { startedAt: current.startedAt, endedAt: at }].slice(-MAX_KEPT_OUTAGES),
  };
}
