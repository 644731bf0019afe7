import { StatusCode } from '../../status/status-code.js';

/**
 * Reverse of the table in google.rpc.Code (https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto). If several
 * codes share an HTTP status, the least specific one is used: 409 does not imply ALREADY_EXISTS.
 */
const CODES: Readonly<Record<number, StatusCode>> = {
  400: StatusCode.INVALID_ARGUMENT,
  401: StatusCode.UNAUTHENTICATED,
  403: StatusCode.PERMISSION_DENIED,
  404: StatusCode.NOT_FOUND,
  // Not in the table: thrown by the timeout interceptor in Nest's documentation.
  408: StatusCode.DEADLINE_EXCEEDED,
  409: StatusCode.ABORTED,
  416: StatusCode.OUT_OF_RANGE,
  // Not in the table: a common `errorHttpStatusCode` of ValidationPipe.
  422: StatusCode.INVALID_ARGUMENT,
  429: StatusCode.RESOURCE_EXHAUSTED,
  499: StatusCode.CANCELLED,
  501: StatusCode.UNIMPLEMENTED,
  503: StatusCode.UNAVAILABLE,
  504: StatusCode.DEADLINE_EXCEEDED,
};

/** Returns the gRPC status code for an HTTP status. 502 is INTERNAL because callers would retry UNAVAILABLE. */
export function codeOfHttpStatus(status: number): StatusCode {
  const code = CODES[status];
  if (code !== undefined) return code;
  if (status >= 400 && status < 500) return StatusCode.FAILED_PRECONDITION;
  return status >= 500 && status < 600 ? StatusCode.INTERNAL : StatusCode.UNKNOWN;
}
