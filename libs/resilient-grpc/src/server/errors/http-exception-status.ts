import { Metadata } from '@grpc/grpc-js';
import type { HttpException } from '@nestjs/common';
import {
  BAD_REQUEST,
  type FieldViolation,
  STATUS_DETAILS_KEY,
  type StatusDetail,
} from '../../errors/status-details.js';
import { statusDetailsBin } from '../../errors/status-details-bin.js';
import { isObject } from '../../policy/options/option-schemas.js';
import { StatusCode } from '../../status/status-code.js';
import { type ServerStatus, joinMessages, wellFormed } from './status-text.js';
import { ValidationException } from './validation-exception.js';

/**
 * Reverse of the table in google.rpc.Code (https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto). If several codes
 * share an HTTP status, the least specific code is used.
 */
const CODES_BY_HTTP_STATUS: Readonly<Record<number, StatusCode>> = {
  400: StatusCode.INVALID_ARGUMENT,
  401: StatusCode.UNAUTHENTICATED,
  403: StatusCode.PERMISSION_DENIED,
  404: StatusCode.NOT_FOUND,
  // Not in the table, but thrown by the timeout interceptor in Nest's documentation.
  408: StatusCode.DEADLINE_EXCEEDED,
  409: StatusCode.ABORTED,
  // Not in the table, which maps OUT_OF_RANGE to 400.
  416: StatusCode.OUT_OF_RANGE,
  // Not in the table, but a common `errorHttpStatusCode` of ValidationPipe.
  422: StatusCode.INVALID_ARGUMENT,
  429: StatusCode.RESOURCE_EXHAUSTED,
  499: StatusCode.CANCELLED,
  501: StatusCode.UNIMPLEMENTED,
  503: StatusCode.UNAVAILABLE,
  504: StatusCode.DEADLINE_EXCEEDED,
};

/** Maximum total size of the fields and descriptions of the sent violations, in bytes. */
const MAX_VIOLATION_BYTES = 4_096;

/** Returns the gRPC status for an HttpException. INVALID_ARGUMENT with listed validation errors carries a `google.rpc.BadRequest`. */
export function statusOfHttpException(exception: HttpException): ServerStatus {
  const code = codeOfHttpStatus(exception.getStatus());
  const response: unknown = exception.getResponse();
  const found: unknown = isObject(response) ? Reflect.get(response, 'message') : response;
  const listed = violationsOf(found);
  const details =
    listed.length > 0
      ? joinMessages(listed.map(({ description }) => description))
      : wellFormed(typeof found === 'string' ? found : exception.message);
  if (code !== StatusCode.INVALID_ARGUMENT || listed.length === 0) return { code, details };
  const violations = exception instanceof ValidationException ? exception.fieldViolations : listed;
  const metadata = new Metadata();
  metadata.set(STATUS_DETAILS_KEY, statusDetailsBin(code, details, [badRequestDetail(violations)]));
  return { code, details, metadata };
}

/** Returns the gRPC status code for an HTTP status. 502 becomes INTERNAL, because callers would retry UNAVAILABLE. */
function codeOfHttpStatus(status: number): StatusCode {
  const code = CODES_BY_HTTP_STATUS[status];
  if (code !== undefined) return code;
  if (status >= 400 && status < 500) return StatusCode.FAILED_PRECONDITION;
  return status >= 500 && status < 600 ? StatusCode.INTERNAL : StatusCode.UNKNOWN;
}

/** Returns a `google.rpc.BadRequest` with `violations`. Omits the last ones if not all fit into the trailers. */
function badRequestDetail(violations: readonly FieldViolation[]): StatusDetail {
  const fieldViolations: FieldViolation[] = [];
  let bytes = 0;
  for (const { field, description } of violations) {
    bytes += Buffer.byteLength(field) + Buffer.byteLength(description);
    if (bytes > MAX_VIOLATION_BYTES) break;
    fieldViolations.push({ field, description });
  }
  return { typeUrl: BAD_REQUEST, value: { fieldViolations } };
}

/**
 * Reads the violations from the response of Nest's ValidationPipe. If `errorFormat` is 'grouped', the response contains lists of messages
 * by path. Otherwise, it contains one list of messages, whose field paths cannot be separated from the text.
 */
function violationsOf(message: unknown): readonly FieldViolation[] {
  if (isListOfStrings(message)) return message.map((description) => ({ field: '', description }));
  if (!isObject(message)) return [];
  return Object.entries(message).flatMap(([path, texts]: [string, unknown]) =>
    isListOfStrings(texts) ? texts.map((description) => ({ field: formatPath(path), description })) : [],
  );
}

/** Converts 'items.0.quantity' to 'items[0].quantity', and '...', which marks omitted errors, to an empty path. */
function formatPath(path: string): string {
  return path === '...' ? '' : path.replaceAll(/(?:^|\.)(\d+)(?=\.|$)/g, '[$1]');
}

function isListOfStrings(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((entry) => typeof entry === 'string');
}
