import { STATUS_CODES } from 'node:http';
import { HttpException } from '@nestjs/common';
import { BAD_REQUEST, typeNameOf, type FieldViolation } from '../../errors/status-details.js';
import { type GrpcCallError, isGrpcCallError, type FailureReason } from '../../errors/grpc-call-error.js';
import { defineLibraryError } from '../../errors/library-error.js';
import { REQUEST_TOO_LARGE, TOO_LARGE_FOR_SERVER } from '../../policy/evidence/grpc-js-texts.js';
import type { StatusName } from '../../status/status-code.js';
import { ResumeError } from '../../errors/stream-errors.js';

/** HTTP status of each gRPC code, as in google.rpc.Code (https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto). */
const HTTP_STATUS: Readonly<Record<StatusName, number>> = {
  // No call fails with OK.
  OK: 500,
  // 499 if the caller cancelled.
  CANCELLED: 500,
  UNKNOWN: 500,
  INVALID_ARGUMENT: 400,
  DEADLINE_EXCEEDED: 504,
  NOT_FOUND: 404,
  ALREADY_EXISTS: 409,
  PERMISSION_DENIED: 403,
  // 413 if the request exceeds a limit, and 500 if the response or the metadata does.
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
 * Codes that describe the request, and whose messages are written for its sender. All other codes describe the upstream's own state, its
 * view of this process, or a fault; their messages may contain names of tables, hosts, or accounts.
 */
const EXPOSED_CODES: ReadonlySet<StatusName> = new Set([
  'INVALID_ARGUMENT',
  'NOT_FOUND',
  'ALREADY_EXISTS',
  'FAILED_PRECONDITION',
  'OUT_OF_RANGE',
]);

const RETRY_AFTER_STATUSES: ReadonlySet<number> = new Set([429, 503]);
const CLIENT_CLOSED_REQUEST = 'Client Closed Request';
/** Message that Nest uses for unknown exceptions. */
const INTERNAL = 'Internal server error';

interface GrpcHttpBody {
  readonly statusCode: number;
  /** The upstream's message if it is not empty and `code` describes the request; otherwise the standard text of the HTTP status. */
  readonly message: string;
  /** Standard text of the HTTP status; present only if `message` is the upstream's message. */
  readonly error?: string;
  /** Name of the gRPC status; HTTP 400, 409, and 500 each represent several gRPC statuses. */
  readonly code: StatusName;
  /** Violations from a `google.rpc.BadRequest` detail of INVALID_ARGUMENT. */
  readonly fieldViolations?: readonly FieldViolation[];
}

/** HTTP exception for a failed call. Its `cause` is the GrpcCallError. */
export class GrpcHttpException extends HttpException {
  /**
   * Value of the `Retry-After` header in whole seconds, at least 1 during an outage; `undefined` if unknown, or if the status is neither
   * 429 nor 503.
   */
  readonly retryAfterSeconds: number | undefined;

  /** @internal Created by `toHttpException`. */
  constructor(body: GrpcHttpBody, cause: GrpcCallError) {
    super(body, body.statusCode, { cause });
    const { retryAfterMs, reason } = cause;
    const isKnown =
      RETRY_AFTER_STATUSES.has(body.statusCode) && retryAfterMs !== undefined && Number.isFinite(retryAfterMs);
    // During an outage, a delay of 0 means that a connection attempt is running. The delay is raised to 1 ms, which is rounded up to 1 s,
    // because the header '0' would request an immediate retry.
    const minMs = reason === 'outage' ? 1 : 0;
    this.retryAfterSeconds = isKnown ? Math.ceil(Math.max(minMs, retryAfterMs) / 1_000) : undefined;
  }
}

defineLibraryError(GrpcHttpException, 'GrpcHttpException');

/**
 * Returns the HttpException for a failed call. The HTTP status follows google.rpc.Code, with two exceptions: it is 500 instead of 499 if
 * the upstream cancelled the call, and instead of 429 it is 413 if the request message exceeds a limit of this client or the server, and 500
 * if the response exceeds the limit of this client. The upstream's message is included
 * only if the gRPC code describes the request (INVALID_ARGUMENT, NOT_FOUND, ALREADY_EXISTS, FAILED_PRECONDITION, OUT_OF_RANGE). A message
 * that this process, a proxy, or a transport wrote is never included.
 */
export function toHttpException(error: GrpcCallError): HttpException & Pick<GrpcHttpException, 'retryAfterSeconds'> {
  const { codeName } = error;
  const statusCode = httpStatusOf(error);
  const usual = httpStatusText(statusCode);
  const isExposed = isForCaller(error);
  const hasMessage = isExposed && error.details !== '';
  const violations = isExposed && codeName === 'INVALID_ARGUMENT' ? fieldViolationsOf(error) : [];
  return new GrpcHttpException(
    {
      statusCode,
      message: hasMessage ? error.details : usual,
      ...(hasMessage && { error: usual }),
      code: codeName,
      ...(violations.length > 0 && { fieldViolations: violations }),
    },
    error,
  );
}

function httpStatusOf(error: GrpcCallError): number {
  if (isCallerCancellation(error)) return 499;
  // 429 would ask the caller to send the same request again later, with the same result.
  if (error.codeName !== 'RESOURCE_EXHAUSTED') return HTTP_STATUS[error.codeName];
  const { reason, details } = error;
  if (reason === 'not-sent') return REQUEST_TOO_LARGE.test(details) ? 413 : 500;
  if (reason === 'server' && TOO_LARGE_FOR_SERVER.test(details)) return 413;
  return reason === 'protocol' ? 500 : HTTP_STATUS.RESOURCE_EXHAUSTED;
}

/** True if the server's message is meant for the sender of the request. */
export function isForCaller(error: GrpcCallError): boolean {
  return EXPOSED_CODES.has(error.codeName) && isFromServer(error);
}

function httpStatusText(statusCode: number): string {
  if (statusCode === 500) return INTERNAL;
  return STATUS_CODES[statusCode] ?? CLIENT_CLOSED_REQUEST;
}

function fieldViolationsOf({ statusDetails }: GrpcCallError): readonly FieldViolation[] {
  const detail = statusDetails.find(({ typeUrl }) => typeNameOf(typeUrl) === BAD_REQUEST)?.value;
  // A detail that could not be decoded is given as bytes.
  if (detail === undefined || detail instanceof Uint8Array) return [];
  // Safe: a decoded detail has all string and repeated fields of its type.
  const { fieldViolations } = detail as { readonly fieldViolations: readonly FieldViolation[] };
  return fieldViolations.map(({ field, description }) => ({ field, description }));
}

/** Returns the error of the failed call: `error` itself, or the `cause` of a ResumeError; `undefined` for any other error. */
export function callErrorOf(error: unknown): GrpcCallError | undefined {
  if (isGrpcCallError(error)) return error;
  return error instanceof ResumeError && isGrpcCallError(error.cause) ? error.cause : undefined;
}

const CANCELLATION_REASONS: ReadonlySet<FailureReason> = new Set(['cancelled', 'inbound-cancelled']);

/**
 * True if the caller cancelled the call, or if the inbound call or request that this call served was cancelled. A CANCELLED status from the
 * server does not count.
 */
export function isCallerCancellation({ codeName, reason }: GrpcCallError): boolean {
  return codeName === 'CANCELLED' && CANCELLATION_REASONS.has(reason);
}

/** True if `details` comes from the server's application, not from this process, a transport, or a proxy. */
export function isFromServer({ reason, reachedServer }: GrpcCallError): boolean {
  return reason === 'server' && reachedServer === 'yes';
}
