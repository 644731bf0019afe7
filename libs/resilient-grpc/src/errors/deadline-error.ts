import { StatusCode } from '../status/status-code.js';

const BRAND = Symbol.for('nestjs-resilient-grpc.DeadlineError');

/** The whole did not end within its time. */
export class DeadlineError extends Error {
  override readonly name = 'DeadlineError';
  readonly code = StatusCode.DEADLINE_EXCEEDED;

  constructor(
    /** The time it had, from its subscription. */
    readonly timeoutMs: number,
  ) {
    super(`Deadline exceeded after ${String(timeoutMs)} ms`);
    Object.defineProperty(this, BRAND, { value: true });
  }
}

/** Whether `error` is a DeadlineError, also one of another copy of this package. */
export function isDeadlineError(error: unknown): error is DeadlineError {
  return error instanceof Error && BRAND in error;
}
