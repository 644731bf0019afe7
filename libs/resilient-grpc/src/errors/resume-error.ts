import type { StatusCode } from '../status/status-code.js';
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
