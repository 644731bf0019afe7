import { StatusCode } from '../../status/status-code.js';

/**
 * By google.rpc.Code's table, read backwards (https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto). Where
 * several codes have one HTTP status, that one which promises least: 409 does not say that the thing exists already.
 */
const CODES: Readonly<Record<number, StatusCode>> = {
  400: StatusCode.INVALID_ARGUMENT,
  401: StatusCode.UNAUTHENTICATED,
  403: StatusCode.PERMISSION_DENIED,
  404: StatusCode.NOT_FOUND,
  // Not in the table: what a handler's own time limit throws, by Nest's documentation.
  408: StatusCode.DEADLINE_EXCEEDED,
  409: StatusCode.ABORTED,
  416: StatusCode.OUT_OF_RANGE,
  // Not in the table: `errorHttpStatusCode` of many a ValidationPipe.
  422: StatusCode.INVALID_ARGUMENT,
  429: StatusCode.RESOURCE_EXHAUSTED,
  499: StatusCode.CANCELLED,
  501: StatusCode.UNIMPLEMENTED,
  503: StatusCode.UNAVAILABLE,
  504: StatusCode.DEADLINE_EXCEEDED,
};

/** The status code for an HTTP status. 502 is INTERNAL: UNAVAILABLE would have callers send it again. */
export function codeOfHttpStatus(status: number): StatusCode {
  const code = CODES[status];
  if (code !== undefined) return code;
  if (status >= 400 && status < 500) return StatusCode.FAILED_PRECONDITION;
  return status >= 500 && status < 600 ? StatusCode.INTERNAL : StatusCode.UNKNOWN;
}
