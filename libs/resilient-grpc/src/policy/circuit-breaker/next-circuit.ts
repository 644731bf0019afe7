import { jitter, type Random } from '../../time/random.js';
import type { AttemptOutcome } from './attempt-outcome.js';
import type { CircuitBreakerPolicy } from './circuit-breaker-policy.js';
import type { CircuitState, CircuitToken } from './circuit-state.js';

/** Attempts of the sampling time. */
export interface Sample {
  readonly failures: number;
  readonly total: number;
}

/** What a circuit breaker sees. */
export type CircuitEvent =
  /** An attempt wants to begin. */
  | { readonly type: 'ask'; readonly at: number }
  /** An attempt ended; `sample` has it in it. */
  | {
      readonly type: 'result';
      readonly at: number;
      readonly token: CircuitToken;
      readonly outcome: AttemptOutcome;
      readonly sample: Sample;
    };

const JITTER = 0.2;

/** The state after `event`; the same object when it changes nothing. */
export function nextCircuit(
  state: CircuitState,
  event: CircuitEvent,
  policy: CircuitBreakerPolicy,
  random: Random,
): CircuitState {
  return event.type === 'ask' ? asked(state, event.at, policy) : ended(state, event, policy, random);
}

/** Whether an attempt that ended was admitted in the present closed or half-open time: all others decide nothing. */
export function isCurrent(state: CircuitState, token: CircuitToken): boolean {
  switch (state.kind) {
    case 'closed':
      return token === state.token;
    case 'open':
      return false;
    case 'half-open':
      return token >= state.since;
  }
}

/** Milliseconds until an attempt may pass; 0: it may now. */
export function refusedForMs(state: CircuitState, now: number): number {
  switch (state.kind) {
    case 'closed':
      return 0;
    case 'open':
      return Math.max(state.probeAt - now, 0);
    case 'half-open':
      return Math.max(state.probeEndsAt - now, 0);
  }
}

function asked(state: CircuitState, at: number, policy: CircuitBreakerPolicy): CircuitState {
  if (state.kind === 'closed' || refusedForMs(state, at) > 0) return state;
  const token = state.token + 1;
  const since = state.kind === 'half-open' ? state.since : token;
  return { kind: 'half-open', token, since, probeEndsAt: at + policy.probeTimeoutMs, breaks: state.breaks };
}

function ended(
  state: CircuitState,
  event: Extract<CircuitEvent, { type: 'result' }>,
  policy: CircuitBreakerPolicy,
  random: Random,
): CircuitState {
  if (!isCurrent(state, event.token)) return state;
  if (state.kind === 'half-open') {
    switch (event.outcome) {
      case 'success':
        return { kind: 'closed', token: state.token + 1 };
      case 'failure':
        return opened(state.token, event.at, state.breaks + 1, policy, random);
      case 'ignored':
        // Only of the latest: an older one gave its permit up when its time was over.
        return event.token === state.token ? { ...state, probeEndsAt: -Infinity } : state;
    }
  }
  // On failures only: a success that fills the sample is no reason to open.
  if (event.outcome !== 'failure' || !isFailing(event.sample, policy)) return state;
  return opened(state.token, event.at, 1, policy, random);
}

function isFailing({ failures, total }: Sample, policy: CircuitBreakerPolicy): boolean {
  return total >= policy.minimumThroughput && failures >= policy.failureRatio * total;
}

function opened(
  token: CircuitToken,
  at: number,
  breaks: number,
  policy: CircuitBreakerPolicy,
  random: Random,
): CircuitState {
  const doubled = Math.min(policy.breakDurationMs * 2 ** (breaks - 1), policy.maxBreakDurationMs);
  return { kind: 'open', token: token + 1, probeAt: at + jitter(doubled, JITTER, random), breaks };
}
