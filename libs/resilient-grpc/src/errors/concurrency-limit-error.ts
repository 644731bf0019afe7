import { StatusCode } from '../status/status-code.js';

const BRAND = Symbol.for('nestjs-resilient-grpc.ConcurrencyLimitError');

/** As many run and wait as may: refused without being sent. */
export class ConcurrencyLimitError extends Error {
  override readonly name = 'ConcurrencyLimitError';
  readonly code = StatusCode.RESOURCE_EXHAUSTED;

  constructor(
    readonly maxConcurrent: number,
    readonly maxQueued: number,
  ) {
    super(`All ${String(maxConcurrent)} permits are taken and ${String(maxQueued)} wait, which is the most that may`);
    Object.defineProperty(this, BRAND, { value: true });
  }
}

/** Whether `error` is a ConcurrencyLimitError, also one of another copy of this package. */
export function isConcurrencyLimitError(error: unknown): error is ConcurrencyLimitError {
  return error instanceof Error && BRAND in error;
}
