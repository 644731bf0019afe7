import type { OutageEvent, OutagePolicy, OutageState } from './outage-state.js';

/** Past outages that are kept: more in a minute have used up any grace. */
const KEPT = 60;

/** The state after `event`; the same object when it changes nothing. */
export function nextOutage(state: OutageState, event: OutageEvent, policy: OutagePolicy): OutageState {
  switch (event.type) {
    case 'attempt-failed':
      return failedTry(state, event.at, policy);
    case 'ready':
      // READY is told again with each new picker; it counts from the first.
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
      // A server that dies right after its SETTINGS is READY each time for a moment: without this rule the backoff would
      // start afresh, and 150 connections a second would follow.
      if (!event.answered && event.livedMs < policy.shortLivedMs) return failedTry(state, event.at, policy);
      if (event.answered || event.livedMs >= policy.confirmMs) return over(state, event.at);
      return state;
  }
}

function failedTry(state: OutageState, at: number, policy: OutagePolicy): OutageState {
  const { current } = state;
  if (current) return { ...state, current: { ...current, tries: current.tries + 1, readySince: undefined } };

  const past = state.past.filter(({ startedAt }) => at - startedAt < policy.flapWindowMs);
  const flapping = past.length + 1 >= policy.flapCount;
  // Flapping: all of them have one grace together, of which each uses up what it lasted. A rolling deploy of short gaps stays
  // within it; callers of a server that comes and goes are not made to wait each time.
  const usedMs = flapping ? past.reduce((sum, { startedAt, endedAt }) => sum + endedAt - startedAt, 0) : 0;
  const graceEndsAt = at + Math.max(0, policy.graceMs - usedMs);
  return { current: { startedAt: at, graceEndsAt, tries: 1, flapping, readySince: undefined }, past };
}

function over(state: OutageState, at: number): OutageState {
  const { current } = state;
  if (!current) return state;
  return { current: undefined, past: [...state.past, { startedAt: current.startedAt, endedAt: at }].slice(-KEPT) };
}
