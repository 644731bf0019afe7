import { StatusCode } from '../status/status-code.js';
import { defineLibraryError } from './library-error.js';

/** Error of a call that was not sent, because it would have exceeded a concurrency limit, and the queue was full. */
export class ConcurrencyLimitError extends Error {
  override readonly name = 'ConcurrencyLimitError';
  readonly code = StatusCode.RESOURCE_EXHAUSTED;

  constructor(
    readonly maxConcurrent: number,
    readonly maxQueued: number,
  ) {
    super(`Concurrency limit reached: ${String(maxConcurrent)} running, ${String(maxQueued)} queued`);
  }
}

defineLibraryError(ConcurrencyLimitError, 'ConcurrencyLimitError');
