import { StatusCode } from '../status/status-code.js';
import { defineLibraryError } from './library-error.js';

/** Error of the `deadline` operator: the source did not end in time. */
export class DeadlineError extends Error {
  override readonly name = 'DeadlineError';
  readonly code = StatusCode.DEADLINE_EXCEEDED;

  constructor(
    /** Time limit in milliseconds, counted from the subscription. */
    readonly timeoutMs: number,
  ) {
    super(`Deadline exceeded after ${String(timeoutMs)} ms`);
  }
}

defineLibraryError(DeadlineError, 'DeadlineError');
