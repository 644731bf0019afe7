import type { StatusCode } from '../status/status-code.js';

const BRAND = Symbol.for('nestjs-resilient-grpc.ResumeError');

/** Why a stream of several calls was given up. */
export type ResumeProblem =
  /** The server failed time after time at one place of the stream. */
  | 'poison'
  /** The server gives what was had already, and does not get beyond it. */
  | 'overlap'
  /** A message whose cursor cannot be compared. */
  | 'cursor'
  /** More came than a slow reader may leave lying, from a source that cannot be slowed. */
  | 'slow-reader';

/** A stream of several calls was given up. `cause` is the last failure, where there was one. */
export class ResumeError extends Error {
  override readonly name = 'ResumeError';

  constructor(
    readonly because: ResumeProblem,
    /** That of the last failure, where there was one. */
    readonly code: StatusCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
    Object.defineProperty(this, BRAND, { value: true });
  }

  /** By the brand, as of a `GrpcCallError`. */
  static override [Symbol.hasInstance](value: unknown): boolean {
    return this === ResumeError ? isResumeError(value) : Function.prototype[Symbol.hasInstance].call(this, value);
  }
}

/** Whether `error` is a ResumeError, also one of another copy of this package. */
export function isResumeError(error: unknown): error is ResumeError {
  return error instanceof Error && BRAND in error;
}
