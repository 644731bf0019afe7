import { StatusCode } from '../status/status-code.js';
import { defineLibraryError } from './library-error.js';

/**
 * Reason why a resumed stream or a `replayUnacknowledged` session cannot continue. A minor version may add reasons; handle unknown ones in
 * a default branch.
 */
export type ResumeFailureReason =
  /** The server failed repeatedly, and the stream or session made no progress in between. */
  | 'poison'
  /** The server sent too many messages at or before the cursor from which the call resumed. */
  | 'overlap'
  /** The cursor of a message cannot be compared, or is a number that may have been rounded. */
  | 'cursor'
  /** A source without flow control emitted more messages than may be buffered for a slow reader. */
  | 'slow-reader';

/**
 * Error of a resumed stream or a `replayUnacknowledged` session that cannot continue. For 'poison', `cause` is the last failure; otherwise,
 * it is absent.
 */
export class ResumeError extends Error {
  override readonly name = 'ResumeError';

  constructor(
    readonly reason: ResumeFailureReason,
    /** Status code of the last failure for 'poison', RESOURCE_EXHAUSTED for 'slow-reader', INTERNAL for the other reasons. */
    readonly code: StatusCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

defineLibraryError(ResumeError, 'ResumeError');

/**
 * Error of a stream in which a cursor decreases within one call. The server sent messages out of order, or `cursor` or
 * `compare` does not match the server's order, so the data is unreliable.
 */
export class CursorRegressionError extends Error {
  override readonly name = 'CursorRegressionError';
  readonly code = StatusCode.DATA_LOSS;

  constructor(
    /** Cursor of the last delivered message, or of a later heartbeat. */
    readonly previous: unknown,
    /** Cursor of the message that followed. */
    readonly cursor: unknown,
    message: string,
  ) {
    super(message);
  }
}

defineLibraryError(CursorRegressionError, 'CursorRegressionError');

/** Reason for a ReplayError. A minor version may add reasons; handle unknown ones in a default branch. */
export type ReplayFailureReason =
  /** An Observable emitted more messages than may be buffered for a slower connection. */
  | 'source-too-fast'
  /** Two unacknowledged messages had the same id. */
  | 'duplicate-id'
  /** No acknowledgment arrived within `acknowledgmentTimeoutMs`. */
  | 'acknowledgment-timeout'
  /** Messages were unacknowledged when the server ended the call cleanly, or when a shutdown ended the session. */
  | 'unacknowledged';

const STATUS_CODES: Readonly<Record<ReplayFailureReason, StatusCode>> = {
  'source-too-fast': StatusCode.RESOURCE_EXHAUSTED,
  'duplicate-id': StatusCode.INVALID_ARGUMENT,
  // The same code as for a lost connection.
  'acknowledgment-timeout': StatusCode.UNAVAILABLE,
  unacknowledged: StatusCode.ABORTED,
};

/**
 * Error of a `replayUnacknowledged` session, or of one of its calls, for a reason other than the status of a call. After
 * 'acknowledgment-timeout' and 'unacknowledged', another call follows by default, except during a shutdown. The other reasons end the
 * session.
 */
export class ReplayError extends Error {
  override readonly name = 'ReplayError';
  readonly code: StatusCode;

  constructor(
    readonly reason: ReplayFailureReason,
    message: string,
    /** Number of unacknowledged messages at the time of the failure. The server may have received them. */
    readonly unacknowledged: number,
  ) {
    super(message);
    this.code = STATUS_CODES[reason];
  }
}

defineLibraryError(ReplayError, 'ReplayError');
