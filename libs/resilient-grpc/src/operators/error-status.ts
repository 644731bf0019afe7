import { CircuitOpenError, ConcurrencyLimitError, DeadlineError, IdleTimeoutError } from '../errors/operator-errors.js';
import { isGrpcCallError, type FailureReason } from '../errors/grpc-call-error.js';
import { outcomeOfCode, outcomeOfDeadline, type AttemptOutcome } from '../policy/circuit-breaker/circuit-breaker.js';
import type { CircuitBreakerPolicy } from '../policy/circuit-breaker/circuit-breaker.js';
import { reasonKind } from '../policy/resume/decide-resume.js';
import { DEFAULT_RETRY_POLICY } from '../policy/retry/retry-policy.js';
import { isStatusCode, StatusCode } from '../status/status-code.js';
import { isError } from '../errors/error-message.js';

/**
 * True if another attempt may succeed: for UNAVAILABLE, a `DeadlineError`, and errors without a gRPC status code. False for cancelled
 * calls, for an AbortError, and for calls that the client itself does not retry because they may have side effects. Also false for
 * rejections by a circuit breaker, a concurrency limit, or a client that is shutting down, because another attempt would be rejected, too.
 */
export function isTransient(error: unknown): boolean {
  if (error instanceof DeadlineError) return true;
  const reason = failureReason(error);
  const kind = reasonKind(reason);
  // Another attempt would be rejected, too, or is unwanted because the call was cancelled.
  if (kind === 'ended-by-caller' || kind === 'client-closing' || reason === 'circuit-open') return false;
  if (isGrpcCallError(error) && error.notRetriedBecause === 'not-safe-to-repeat') return false;
  const code = statusOf(error);
  return code === undefined || DEFAULT_RETRY_POLICY.retryableStatusCodes.has(code);
}

/** Returns the outcome of an error for a circuit breaker. An error with neither a reason nor a gRPC status code is a failure. */
export function outcomeOf(error: unknown, policy: CircuitBreakerPolicy): AttemptOutcome {
  const reason = failureReason(error);
  if (reason === 'deadline') return outcomeOfDeadline(policy);
  const kind = reasonKind(reason);
  // A connection that closed before the call was sent is not evidence about the server.
  if (kind === 'lost')
    return reason === 'connection-lost' && isGrpcCallError(error) && error.reachedServer === 'no'
      ? 'ignored'
      : 'failure';
  if (kind !== undefined && kind !== 'by-code' && kind !== 'local') return 'ignored';
  const code = statusOf(error);
  if (code === undefined) return 'failure';
  const outcome = outcomeOfCode(code, policy);
  return code === StatusCode.CANCELLED && outcome === 'success' ? 'ignored' : outcome;
}

/**
 * Returns the reason of a GrpcCallError, or the equivalent reason for a timeout or rejection by an operator; 'cancelled' for an AbortError,
 * `undefined` for other errors.
 */
export function failureReason(error: unknown): FailureReason | undefined {
  if (isGrpcCallError(error)) return error.reason;
  // Inside an operator that repeats calls, a timeout of `deadline` or `idleTimeout` ends one call of several.
  if (error instanceof DeadlineError) return 'attempt-timeout';
  if (error instanceof IdleTimeoutError) return 'stream-idle';
  if (error instanceof CircuitOpenError) return 'circuit-open';
  if (error instanceof ConcurrencyLimitError) return 'concurrency-limit';
  return isError(error) && error.name === 'AbortError' ? 'cancelled' : undefined;
}

/** Returns the status code of an error; `undefined` if it has none. */
export function statusOf(error: unknown): StatusCode | undefined {
  const code = typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined;
  return isStatusCode(code) ? code : undefined;
}
