import { StatusCode } from '../status/status-code.js';
import { defineLibraryError } from './library-error.js';

/** Error of an attempt that an open circuit breaker rejected before it was sent. */
export class CircuitOpenError extends Error {
  override readonly name = 'CircuitOpenError';
  readonly code = StatusCode.UNAVAILABLE;

  constructor(
    /** Path of the method, or `name` of the `CircuitBreaker`. */
    readonly target: string,
    /** Maximum time until the next probe, in milliseconds. */
    readonly retryAfterMs: number,
  ) {
    super(
      `The circuit breaker of ${target} is open after too many failures; ` +
        `it admits a probe within ${String(Math.ceil(retryAfterMs))} ms`,
    );
  }
}

defineLibraryError(CircuitOpenError, 'CircuitOpenError');

/** Error of a call that was not sent, because it would have exceeded a concurrency limit, and the queue was full. */
export class ConcurrencyLimitError extends Error {
  override readonly name = 'ConcurrencyLimitError';
  readonly code = StatusCode.RESOURCE_EXHAUSTED;

  constructor(
    readonly maxConcurrent: number,
    readonly maxQueued: number,
  ) {
    super(`Concurrency limit reached: ${String(maxConcurrent)} running, ${String(maxQueued)} queued`);
  }
}

defineLibraryError(ConcurrencyLimitError, 'ConcurrencyLimitError');

/** Error of the `deadline` operator: the source did not end in time. */
export class DeadlineError extends Error {
  override readonly name = 'DeadlineError';
  readonly code = StatusCode.DEADLINE_EXCEEDED;

  constructor(
    /** Time limit in milliseconds, counted from the subscription. */
    readonly timeoutMs: number,
  ) {
    super(`Deadline exceeded after ${String(timeoutMs)} ms`);
  }
}

defineLibraryError(DeadlineError, 'DeadlineError');

/** Error of a stream that received no message within its idle timeout. The code is UNAVAILABLE, as for a lost connection. */
export class IdleTimeoutError extends Error {
  override readonly name = 'IdleTimeoutError';
  readonly code = StatusCode.UNAVAILABLE;

  constructor(readonly idleMs: number) {
    super(`No message for ${String(idleMs)} ms`);
  }
}

defineLibraryError(IdleTimeoutError, 'IdleTimeoutError');
