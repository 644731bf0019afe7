import { jitter, type Random } from '../../time/random.js';
import type { AttemptOutcome } from './attempt-outcome.js';
import type { CircuitBreakerPolicy } from './circuit-breaker-policy.js';

/**
 * Token of an admission. A result counts only if its attempt was admitted in the current period, no matter when the attempt ended. The
 * token increases with every state change and with every probe.
 */
export type CircuitToken = number;

/** State of a circuit breaker. Times are monotonic milliseconds. */
export type CircuitState =
  /** All attempts are admitted and counted. */
  | { readonly kind: 'closed'; readonly token: CircuitToken }
  /** No attempt is admitted before `probeAt`. */
  | {
      readonly kind: 'open';
      readonly token: CircuitToken;
      readonly probeAt: number;
      /** Number of consecutive breaks without a successful probe between them. */
      readonly breaks: number;
    }
  /** One probe at a time is admitted. */
  | {
      readonly kind: 'half-open';
      /** Token of the latest probe. */
      readonly token: CircuitToken;
      /** Token of the first probe. The result of any probe since then counts, including a slow one that a later probe replaced. */
      readonly since: CircuitToken;
      /** Time until which the latest probe holds the only permit; −Infinity if it has returned the permit. */
      readonly probeEndsAt: number;
      readonly breaks: number;
    };

/** Initial state. */
export const CLOSED: CircuitState = { kind: 'closed', token: 0 };

/** Numbers of failed attempts and of all attempts within the sampling time. */
export interface AttemptCounts {
  readonly failures: number;
  readonly total: number;
}

/** Event of a circuit breaker. */
export type CircuitEvent =
  /** An attempt requests admission. */
  | { readonly type: 'request'; readonly at: number }
  /** An attempt ended; `sample` includes it if the circuit is closed. */
  | {
      readonly type: 'result';
      readonly at: number;
      readonly token: CircuitToken;
      readonly outcome: AttemptOutcome;
      readonly sample: AttemptCounts;
    };

const JITTER = 0.2;

/** Returns the state after `event`, or the same object if nothing changes. */
export function nextCircuit(
  state: CircuitState,
  event: CircuitEvent,
  policy: CircuitBreakerPolicy,
  random: Random,
): CircuitState {
  return event.type === 'request' ? afterRequest(state, event.at, policy) : afterResult(state, event, policy, random);
}

/** True if an attempt was admitted in the current closed or half-open period; the results of other attempts are ignored. */
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

/** Returns the milliseconds until an attempt can be admitted; 0 if it can be admitted now. */
export function rejectedForMs(state: CircuitState, now: number): number {
  switch (state.kind) {
    case 'closed':
      return 0;
    case 'open':
      return Math.max(state.probeAt - now, 0);
    case 'half-open':
      return Math.max(state.probeEndsAt - now, 0);
  }
}

function afterRequest(state: CircuitState, at: number, policy: CircuitBreakerPolicy): CircuitState {
  if (state.kind === 'closed' || rejectedForMs(state, at) > 0) return state;
  const token = state.token + 1;
  const since = state.kind === 'half-open' ? state.since : token;
  return { kind: 'half-open', token, since, probeEndsAt: at + policy.probeTimeoutMs, breaks: state.breaks };
}

function afterResult(
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
        return openCircuit(state.token, event.at, state.breaks + 1, policy, random);
      case 'ignored':
        // Only the latest probe returns its permit; an older probe lost its permit at its timeout.
        return event.token === state.token ? { ...state, probeEndsAt: -Infinity } : state;
    }
  }
  // Only a failure opens the circuit, not a success that reaches `minimumThroughput`.
  if (event.outcome !== 'failure' || !isFailing(event.sample, policy)) return state;
  return openCircuit(state.token, event.at, 1, policy, random);
}

function isFailing({ failures, total }: AttemptCounts, policy: CircuitBreakerPolicy): boolean {
  return total >= policy.minimumThroughput && failures >= policy.failureRatio * total;
}

function openCircuit(
  token: CircuitToken,
  at: number,
  breaks: number,
  policy: CircuitBreakerPolicy,
  random: Random,
): CircuitState {
  const doubled = Math.min(policy.breakDurationMs * 2 ** (breaks - 1), policy.maxBreakDurationMs);
  return { kind: 'open', token: token + 1, probeAt: at + jitter(doubled, JITTER, random), breaks };
}
