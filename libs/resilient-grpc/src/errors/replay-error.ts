import { StatusCode } from '../status/status-code.js';
import { defineLibraryError } from './library-error.js';

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
