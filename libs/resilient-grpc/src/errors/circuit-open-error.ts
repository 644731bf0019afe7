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
