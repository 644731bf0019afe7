import { StatusCode } from '../status/status-code.js';
import { errorMessage } from './error-message.js';

/** A message that is not sent, because a value in it would not arrive as it was given. */
export class InvalidMessageError extends TypeError {
  constructor(
    message: string,
    readonly code: StatusCode,
  ) {
    super(message);
  }
}

/** Returns the status of a call whose request cannot be serialized. */
export function serializationFailure(error: unknown): { readonly code: StatusCode; readonly details: string } {
  const code = error instanceof InvalidMessageError ? error.code : StatusCode.INTERNAL;
  return { code, details: `Request message serialization failure: ${errorMessage(error)}` };
}
