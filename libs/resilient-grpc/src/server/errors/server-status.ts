import { HttpException } from '@nestjs/common';
import { isMetadataLike, joinMetadata, NO_METADATA } from '../../channel/attempt/call-metadata.js';
import { isGrpcCallError, type GrpcCallError } from '../../errors/grpc-call-error.js';
import { isResumeError } from '../../errors/resume-error.js';
import { isStatusCode, StatusCode } from '../../status/status-code.js';
import { fittingStatus, type ServerStatus } from './fitting-status.js';
import { statusOfHttpException } from './http-exception-status.js';
import { wellFormed } from './status-text.js';

export type { ServerStatus };

const UNEXPECTED: ServerStatus = { code: StatusCode.UNKNOWN, details: 'Internal server error', unexpected: true };

/**
 * The status for whatever a handler failed with. Never throws.
 * @param filtered it has passed Nest's exception filters, so that whatever it is was meant for the caller: then it is what grpc-js
 * makes of it. Else, as of a generator, an error is told only where it says that it is one of gRPC
 */
export function serverStatusOf(error: unknown, filtered: boolean): ServerStatus {
  try {
    return fittingStatus(statusOf(error, filtered));
  } catch {
    // A getter of it threw, or its metadata.
    return UNEXPECTED;
  }
}

function statusOf(error: unknown, filtered: boolean): ServerStatus {
  if (typeof error !== 'object' || error === null) return UNEXPECTED;
  if (hasGetError(error)) {
    // What Nest's own filter would have failed the Observable with.
    const given: unknown = error.getError();
    if (typeof given !== 'object' || given === null) return { code: StatusCode.UNKNOWN, details: textOf(given) };
    return given === error || hasGetError(given) ? told(given) : statusOf(given, filtered);
  }
  if (isGrpcCallError(error)) return relayed(error);
  // Its message has that of the call in it.
  if (isResumeError(error) && isGrpcCallError(error.cause)) return relayed(error.cause);
  if (error instanceof HttpException) return statusOfHttpException(error);
  if (!filtered && error instanceof Error && !isOfGrpc(error)) return UNEXPECTED;
  return told(error);
}

/**
 * A call to another server failed. Its own words are handed on, but not those of a fault within it, nor what our client found
 * out about its address.
 */
function relayed({ code, codeName, details, reason }: GrpcCallError): ServerStatus {
  const fault = code === StatusCode.INTERNAL || code === StatusCode.UNKNOWN;
  if (!fault && reason === 'server') return { code, details: wellFormed(details) };
  return { code, details: `A call to another server failed: ${codeName}`, ...(fault && { unexpected: true }) };
}

/** As `serverErrorToStatus` of grpc-js, but for codes that are none: those it sends, and callers make of them what they can. */
function told(error: object): ServerStatus {
  const message = 'message' in error ? textOf(error.message) : 'Unknown Error';
  const given = 'metadata' in error ? error.metadata : undefined;
  const trailers = isMetadataLike(given) ? { metadata: joinMetadata(NO_METADATA, given) } : {};
  const code = 'code' in error ? error.code : undefined;
  if (typeof code !== 'number' || !Number.isInteger(code)) {
    return { code: StatusCode.UNKNOWN, details: message, ...trailers };
  }
  const details = 'details' in error && typeof error.details === 'string' ? wellFormed(error.details) : message;
  if (isStatusCode(code) && code !== StatusCode.OK) return { code, details, ...trailers };
  return { ...UNEXPECTED, details: `${details} (${String(code)} is no code of a gRPC error)` };
}

/**
 * Whether an error's code is one of gRPC. A number alone does not say so: it may be what a command or a database ended with, and
 * the message may tell of them what is no caller's business.
 */
function isOfGrpc(error: Error): boolean {
  if (!('code' in error && Number.isInteger(error.code))) return false;
  const hasDetails = 'details' in error && typeof error.details === 'string';
  return hasDetails || ('metadata' in error && isMetadataLike(error.metadata)) || isOurs(error);
}

/** Every error of ours is marked, also for other copies of this package. */
function isOurs(error: Error): boolean {
  return Object.getOwnPropertySymbols(error).some((brand) =>
    Symbol.keyFor(brand)?.startsWith('nestjs-resilient-grpc.'),
  );
}

interface WithGetError {
  getError(): unknown;
}

/** RpcException, and GrpcException of Nest 12, also of another copy of Nest. */
function hasGetError(error: object): error is WithGetError {
  return error instanceof Error && 'getError' in error && typeof error.getError === 'function';
}

/** As a header of grpc-js would have it, where it is anything that can be read. */
function textOf(message: unknown): string {
  if (typeof message === 'string') return wellFormed(message);
  // What a ValidationPipe found, say.
  if (Array.isArray(message) && message.every((one) => typeof one === 'string')) return wellFormed(message.join(','));
  return typeof message === 'number' || typeof message === 'boolean' ? String(message) : 'Unknown Error';
}
