import { StatusCode } from '../status/status-code.js';

/** Why a session that is replayed cannot go on. */
export type ReplayFailureReason =
  /** An Observable pushed more messages than may be held for a connection that is slower. */
  | 'source-too-fast'
  /** Two messages with one id were unacknowledged at once. */
  | 'duplicate-id'
  /** Nothing was acknowledged for `ackTimeoutMs`. */
  | 'acknowledgement-timeout'
  /** The server ended the call in order, without acknowledging everything. */
  | 'unacknowledged';

const CODES: Readonly<Record<ReplayFailureReason, StatusCode>> = {
  'source-too-fast': StatusCode.RESOURCE_EXHAUSTED,
  'duplicate-id': StatusCode.INVALID_ARGUMENT,
  // As of a connection that was lost.
  'acknowledgement-timeout': StatusCode.UNAVAILABLE,
  unacknowledged: StatusCode.ABORTED,
};

const BRAND = Symbol.for('nestjs-resilient-grpc.ReplayError');

/** A session that sends again what is not acknowledged cannot go on, for a reason that is no status of its call. */
export class ReplayError extends Error {
  override readonly name = 'ReplayError';
  readonly code: StatusCode;

  constructor(
    readonly reason: ReplayFailureReason,
    message: string,
    /** Messages that were not acknowledged when it happened. The server may have seen them. */
    readonly unacknowledged: number,
  ) {
    super(message);
    this.code = CODES[reason];
    Object.defineProperty(this, BRAND, { value: true });
  }
}

/** Whether `error` is a ReplayError, also one of another copy of this package. */
export function isReplayError(error: unknown): error is ReplayError {
  return error instanceof Error && BRAND in error;
}
