import { isCircuitOpenError } from '../errors/circuit-open-error.js';
import { isConcurrencyLimitError } from '../errors/concurrency-limit-error.js';
import { isDeadlineError } from '../errors/deadline-error.js';
import { isGrpcCallError } from '../errors/grpc-call-error.js';
import { isIdleTimeoutError } from '../errors/idle-timeout-error.js';
import { byCode, type AttemptOutcome } from '../policy/circuit-breaker/attempt-outcome.js';
import type { CircuitBreakerPolicy } from '../policy/circuit-breaker/circuit-breaker-policy.js';
import { DEFAULT_RETRY_POLICY } from '../policy/retry/retry-policy.js';
import { isStatusCode, StatusCode } from '../status/status-code.js';

// Reasons of a GrpcCallError that are no evidence about the server: nothing was sent, or this side ended the call.
const SAYS_NOTHING: ReadonlySet<string> = new Set([
  'outage',
  'too-many-waiting',
  'concurrency-limit',
  'circuit-open',
  'cancelled',
  'inbound-cancelled',
  'draining',
  'closed',
  'not-sent',
]);
const BROKE_OFF: ReadonlySet<string> = new Set(['connection-lost', 'refused', 'attempt-timeout', 'stream-idle']);
// Another attempt would be rejected too.
const SHUT: ReadonlySet<string> = new Set(['concurrency-limit', 'circuit-open', 'draining', 'closed']);

/**
 * True if another attempt may succeed: UNAVAILABLE, the deadline of an attempt, and errors without a gRPC status code. False for calls that
 * the client itself does not retry because of side effects, and for rejections by a circuit breaker or limit, which would reject again.
 */
export function isTransient(error: unknown): boolean {
  if (isDeadlineError(error)) return true;
  if (isCircuitOpenError(error) || isConcurrencyLimitError(error)) return false;
  if (isGrpcCallError(error) && (SHUT.has(error.reason) || error.notRetriedBecause === 'not-safe-to-repeat'))
    return false;
  const code = statusOf(error);
  return code === undefined || DEFAULT_RETRY_POLICY.retryableStatusCodes.has(code);
}

/** Outcome of an error for a circuit breaker. An error without a gRPC status code is a failure. */
export function outcomeOf(error: unknown, policy: CircuitBreakerPolicy): AttemptOutcome {
  if (isCircuitOpenError(error) || isConcurrencyLimitError(error)) return 'ignored';
  if (isDeadlineError(error) || isIdleTimeoutError(error)) return 'failure';
  if (isGrpcCallError(error)) {
    if (SAYS_NOTHING.has(error.reason)) return 'ignored';
    if (BROKE_OFF.has(error.reason)) return 'failure';
  }
  if (error instanceof Error && error.name === 'AbortError') return 'ignored';
  const code = statusOf(error);
  if (code === undefined) return 'failure';
  const outcome = byCode(code, policy);
  return code === StatusCode.CANCELLED && outcome === 'success' ? 'ignored' : outcome;
}

function statusOf(error: unknown): StatusCode | undefined {
  const code = typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined;
  return isStatusCode(code) ? code : undefined;
}
