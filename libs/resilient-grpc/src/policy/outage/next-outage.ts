import type { Outage, OutageEvent, OutagePolicy, OutageState } from './outage-state.js';

/** The state after `event`; the same object when it changes nothing. */
export function nextOutage(state: OutageState, event: OutageEvent, policy: OutagePolicy): OutageState {
  switch (event.type) {
    case 'attempt-failed':
      return failedTry(state, event.at, policy);
    case 'ready':
      return state.current ? { ...state, current: { ...state.current, readySince: event.at } } : state;
    case 'answered':
      return over(state);
    case 'ready-lasted': {
      const since = state.current?.readySince;
      return since !== undefined && event.at - since >= policy.confirmMs ? over(state) : state;
    }
    case 'connection-ended':
      // A server that dies right after its SETTINGS is READY each time for a moment: without this rule the backoff would
      // start afresh, and 150 connections a second would follow.
      if (!event.answered && event.livedMs < policy.shortLivedMs) return failedTry(state, event.at, policy);
      if (event.answered || event.livedMs >= policy.confirmMs) return over(state);
      return state;
  }
}

function failedTry(state: OutageState, at: number, policy: OutagePolicy): OutageState {
  const { current } = state;
  if (current) return { ...state, current: { ...current, tries: current.tries + 1, readySince: undefined } };

  const starts = [...state.starts.filter((start) => at - start < policy.flapWindowMs), at].slice(-policy.flapCount);
  const flapping = starts.length >= policy.flapCount;
  // Flapping: the grace that was given last holds for all of them, so that callers of a server which comes and goes are
  // not made to wait each time.
  const graceEndsAt = flapping && state.graceEndsAt !== undefined ? state.graceEndsAt : at + policy.graceMs;
  const outage: Outage = { startedAt: at, graceEndsAt, tries: 1, flapping, readySince: undefined };
  return { current: outage, starts, graceEndsAt };
}

function over(state: OutageState): OutageState {
  return state.current ? { ...state, current: undefined } : state;
}
