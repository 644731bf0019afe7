import { StatusCode } from '../status/status-code.js';
import { defineLibraryError } from './library-error.js';

/** Error of a stream that received no message within its idle timeout. The code is UNAVAILABLE, as for a lost connection. */
export class IdleTimeoutError extends Error {
  override readonly name = 'IdleTimeoutError';
  readonly code = StatusCode.UNAVAILABLE;

  constructor(readonly idleMs: number) {
    super(`No message for ${String(idleMs)} ms`);
  }
}

defineLibraryError(IdleTimeoutError, 'IdleTimeoutError');
