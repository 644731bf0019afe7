import { StatusCode } from '../status/status-code.js';
import { defineLibraryError } from './library-error.js';

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
