import { isStatusCode, StatusCode } from '../../status/status-code.js';
import type { CallFailure } from '../call/call-failure.js';

// gRFC A54: codes that describe the request must not come from code that runs before it is sent.
const OF_THE_REQUEST: ReadonlySet<number> = new Set([
  StatusCode.OK,
  StatusCode.INVALID_ARGUMENT,
  StatusCode.NOT_FOUND,
  StatusCode.ALREADY_EXISTS,
  StatusCode.FAILED_PRECONDITION,
  StatusCode.ABORTED,
  StatusCode.OUT_OF_RANGE,
  StatusCode.DATA_LOSS,
]);

/**
 * Returns the failure of a call that was not sent because an interceptor or metadata function threw `error`. A gRPC code of the error is
 * kept if it does not describe the request.
 */
export function preparationFailure(error: unknown): CallFailure {
  const text = error instanceof Error ? error.message : String(error);
  const code: unknown = typeof error === 'object' && error !== null ? Reflect.get(error, 'code') : undefined;
  return {
    code: isStatusCode(code) && !OF_THE_REQUEST.has(code) ? code : StatusCode.INTERNAL,
    details: `The call could not be prepared: ${text}`,
    reason: 'not-sent',
    because: 'local',
    cause: error,
  };
}
