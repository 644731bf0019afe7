import { STATUS_CODES } from 'node:http';
import { HttpException } from '@nestjs/common';
import { BAD_REQUEST, typeNameOf } from '../../errors/error-detail-types.js';
import type { GrpcCallError } from '../../errors/grpc-call-error.js';
import type { StatusName } from '../../status/status-code.js';
import { inServersWords, isOfLeaving } from './call-error-of.js';

/** By google.rpc.Code (https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto). */
const HTTP_STATUS: Readonly<Record<StatusName, number>> = {
  // No call fails with it.
  OK: 500,
  // 499 where the caller has left.
  CANCELLED: 500,
  UNKNOWN: 500,
  INVALID_ARGUMENT: 400,
  DEADLINE_EXCEEDED: 504,
  NOT_FOUND: 404,
  ALREADY_EXISTS: 409,
  PERMISSION_DENIED: 403,
  RESOURCE_EXHAUSTED: 429,
  FAILED_PRECONDITION: 400,
  ABORTED: 409,
  OUT_OF_RANGE: 400,
  UNIMPLEMENTED: 501,
  INTERNAL: 500,
  UNAVAILABLE: 503,
  DATA_LOSS: 500,
  UNAUTHENTICATED: 401,
};

/**
 * Codes that speak of the request, and whose text was written for whoever made it. All others speak of the upstream's own state, of
 * who this process is to it, or of a fault: their texts name tables, hosts, accounts.
 */
const TOLD: ReadonlySet<StatusName> = new Set([
  'INVALID_ARGUMENT',
  'NOT_FOUND',
  'ALREADY_EXISTS',
  'FAILED_PRECONDITION',
  'OUT_OF_RANGE',
]);

/** Statuses for which HTTP knows when to come again. */
const RETRY_AFTER: ReadonlySet<number> = new Set([429, 503]);
const CLIENT_CLOSED_REQUEST = 'Client Closed Request';
/** As Nest says it of exceptions that it does not know. */
const INTERNAL = 'Internal server error';

/** What is wrong with one field of the request. */
export interface HttpFieldViolation {
  readonly field: string;
  readonly description: string;
}

/** Body of the answer. */
export interface GrpcHttpBody {
  readonly statusCode: number;
  /** The upstream's text where its code is about the request, else the usual words for the status. */
  readonly message: string;
  /** The usual words for the status, where `message` has others. */
  readonly error?: string;
  /** Name of the gRPC status: 400 and 409 stand for several. */
  readonly code: StatusName;
  /** What a `google.rpc.BadRequest` says, under INVALID_ARGUMENT. */
  readonly fieldViolations?: readonly HttpFieldViolation[];
}

/** What a failed call is to HTTP. Its `cause` is the GrpcCallError. */
export class GrpcHttpException extends HttpException {
  /** For a `Retry-After` header, in whole seconds; undefined where it is not known, or the status has no such thing. */
  readonly retryAfterSeconds: number | undefined;

  /** @internal By `toHttpException`. */
  constructor(body: GrpcHttpBody, cause: GrpcCallError) {
    super(body, body.statusCode, { cause });
    const { retryAfterMs } = cause;
    const isKnown = RETRY_AFTER.has(body.statusCode) && retryAfterMs !== undefined && Number.isFinite(retryAfterMs);
    this.retryAfterSeconds = isKnown ? Math.ceil(Math.max(0, retryAfterMs) / 1_000) : undefined;
  }
}

/**
 * The HttpException for a failed call, by google.rpc.Code's table. The upstream's words are passed on only where its code is about
 * the request (INVALID_ARGUMENT, NOT_FOUND, ALREADY_EXISTS, FAILED_PRECONDITION, OUT_OF_RANGE), and never those that were found
 * here, by a proxy or a transport.
 */
export function toHttpException(error: GrpcCallError): GrpcHttpException {
  const { codeName } = error;
  const statusCode = isOfLeaving(error) ? 499 : HTTP_STATUS[codeName];
  const usual = wordsFor(statusCode);
  const isTold = isForCaller(error) && error.details !== '';
  const violations = isTold && codeName === 'INVALID_ARGUMENT' ? fieldViolationsOf(error) : [];
  return new GrpcHttpException(
    {
      statusCode,
      message: isTold ? error.details : usual,
      ...(isTold && { error: usual }),
      code: codeName,
      ...(violations.length > 0 && { fieldViolations: violations }),
    },
    error,
  );
}

/** Whether the server meant its words for whoever made the request. */
export function isForCaller(error: GrpcCallError): boolean {
  return TOLD.has(error.codeName) && inServersWords(error);
}

function wordsFor(statusCode: number): string {
  if (statusCode === 500) return INTERNAL;
  return STATUS_CODES[statusCode] ?? CLIENT_CLOSED_REQUEST;
}

/** Field and description alone: what else there is was not made for people. */
function fieldViolationsOf({ statusDetails }: GrpcCallError): readonly HttpFieldViolation[] {
  const detail = statusDetails.find(({ typeUrl }) => typeNameOf(typeUrl) === BAD_REQUEST)?.value;
  const listed: unknown = typeof detail === 'object' && detail !== null ? Reflect.get(detail, 'fieldViolations') : [];
  return Array.isArray(listed)
    ? listed.filter(isViolation).map(({ field, description }) => ({ field, description }))
    : [];
}

function isViolation(value: unknown): value is HttpFieldViolation {
  return (
    typeof value === 'object' &&
    value !== null &&
    typeof Reflect.get(value, 'field') === 'string' &&
    typeof Reflect.get(value, 'description') === 'string'
  );
}
