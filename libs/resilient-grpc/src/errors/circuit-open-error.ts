import { StatusCode } from '../status/status-code.js';

const BRAND = Symbol.for('nestjs-resilient-grpc.CircuitOpenError');

/** The circuit of `target` is open: the attempt was refused without being sent. */
export class CircuitOpenError extends Error {
  override readonly name = 'CircuitOpenError';
  readonly code = StatusCode.UNAVAILABLE;

  constructor(
    readonly target: string,
    /** Milliseconds until the next probe, at the latest. */
    readonly retryAfterMs: number,
  ) {
    super(`Circuit of ${target} is open; the next probe is in ${String(Math.ceil(retryAfterMs))} ms at the latest`);
    Object.defineProperty(this, BRAND, { value: true });
  }
}

/** Whether `error` is a CircuitOpenError, also one of another copy of this package. */
export function isCircuitOpenError(error: unknown): error is CircuitOpenError {
  return error instanceof Error && BRAND in error;
}
