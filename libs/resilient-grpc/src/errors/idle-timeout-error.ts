import { StatusCode } from '../status/status-code.js';

const BRAND = Symbol.for('nestjs-resilient-grpc.IdleTimeoutError');

/** Nothing came for so long that the other side is taken for gone. UNAVAILABLE, as of a connection that was lost. */
export class IdleTimeoutError extends Error {
  override readonly name = 'IdleTimeoutError';
  readonly code = StatusCode.UNAVAILABLE;

  constructor(readonly idleMs: number) {
    super(`No message for ${String(idleMs)} ms`);
    Object.defineProperty(this, BRAND, { value: true });
  }
}

/** Whether `error` is an IdleTimeoutError, also one of another copy of this package. */
export function isIdleTimeoutError(error: unknown): error is IdleTimeoutError {
  return error instanceof Error && BRAND in error;
}
