import { StatusCode } from '../status/status-code.js';

const BRAND = Symbol.for('nestjs-resilient-grpc.ConcurrencyLimitError');

/** The call exceeds a concurrency limit, and its queue is full: the client did not send it. */
export class ConcurrencyLimitError extends Error {
  override readonly name = 'ConcurrencyLimitError';
  readonly code = StatusCode.RESOURCE_EXHAUSTED;

  constructor(
    readonly maxConcurrent: number,
    readonly maxQueued: number,
  ) {
    super(`Concurrency limit reached: ${String(maxConcurrent)} running, ${String(maxQueued)} queued`);
    Object.defineProperty(this, BRAND, { value: true });
  }
}

/** Whether `error` is a ConcurrencyLimitError, also one of another copy of this package. */
export function isConcurrencyLimitError(error: unknown): error is ConcurrencyLimitError {
  return error instanceof Error && BRAND in error;
}
