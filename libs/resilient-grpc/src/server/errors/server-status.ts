import { HttpException } from '@nestjs/common';
import { isMetadataLike, joinMetadata, NO_METADATA } from '../../channel/wire/call-metadata.js';
import type { GrpcCallError } from '../../errors/grpc-call-error.js';
import { callErrorOf } from '../../nest/errors/to-http-exception.js';
import { suggestStatusCode, isStatusCode, StatusCode } from '../../status/status-code.js';
import { type ServerStatus, wellFormed } from './status-text.js';
import { statusOfHttpException } from './http-exception-status.js';
import { isError } from '../../errors/error-message.js';
import { isLibraryError } from '../../errors/library-error.js';

const UNEXPECTED: ServerStatus = { code: StatusCode.UNKNOWN, details: 'Internal server error', unexpected: true };

/**
 * Returns the status for any error that a handler throws. Never throws.
 * @param filtered true if one of Nest's exception filters returned the error, which is therefore intended for the caller.
 */
export function serverStatusOf(error: unknown, filtered: boolean): ServerStatus {
  try {
    return statusOf(error, filtered);
  } catch {
    // Reading the error or its metadata threw.
    return UNEXPECTED;
  }
}

function statusOf(error: unknown, filtered: boolean): ServerStatus {
  if (typeof error !== 'object' || error === null) return UNEXPECTED;
  if (hasGetError(error)) {
    // As in Nest's own filter, an object becomes the error of the call, and any other value becomes the status message.
    const given: unknown = error.getError();
    if (typeof given !== 'object' || given === null) return { code: StatusCode.UNKNOWN, details: readableText(given) };
    return given === error || hasGetError(given) ? grpcJsStatusOf(given) : statusOf(given, filtered);
  }
  // Includes ResumeError, whose message contains the message of the failed call.
  const failedCall = callErrorOf(error);
  if (failedCall !== undefined) return statusOfCallError(failedCall);
  if (error instanceof HttpException) return statusOfHttpException(error);
  if (!filtered && isError(error) && !isGrpcError(error)) return UNEXPECTED;
  return grpcJsStatusOf(error);
}

/**
 * Returns the status for a failed outgoing call. Details are forwarded only if they come from the server's application, and only if the
 * code is neither INTERNAL nor UNKNOWN. Details from the client or a proxy may contain addresses.
 */
function statusOfCallError({ code, codeName, details, reason, reachedServer }: GrpcCallError): ServerStatus {
  const isFault = code === StatusCode.INTERNAL || code === StatusCode.UNKNOWN;
  if (!isFault && reason === 'server' && reachedServer === 'yes') return { code, details: wellFormed(details) };
  return { code, details: `A call to another server failed: ${codeName}`, ...(isFault && { unexpected: true }) };
}

/** Works like `serverErrorToStatus` of grpc-js, except that an integer code outside 1 to 16 becomes UNKNOWN; grpc-js sends it unchanged. */
function grpcJsStatusOf(error: object): ServerStatus {
  const message = 'message' in error ? readableText(error.message) : 'Unknown Error';
  const given = 'metadata' in error ? error.metadata : undefined;
  const trailers = isMetadataLike(given) ? { metadata: joinMetadata(NO_METADATA, given) } : {};
  const code = 'code' in error ? error.code : undefined;
  if (typeof code !== 'number' || !Number.isInteger(code)) {
    // Sent as in Nest, but reported, because a code given as a string, such as 'NOT_FOUND' or '5', or under another name is a mistake.
    const isMistake = suggestStatusCode(code) !== undefined || misnamedCodeOf(error) !== undefined;
    return { code: StatusCode.UNKNOWN, details: message, ...trailers, ...(isMistake && { unexpected: true }) };
  }
  const details = 'details' in error && typeof error.details === 'string' ? wellFormed(error.details) : message;
  if (isStatusCode(code) && code !== StatusCode.OK) return { code, details, ...trailers };
  return { ...UNEXPECTED, details: `${details} (${String(code)} is not a gRPC error code)` };
}

/** Returns the name under which an error without a `code` has a number that may be meant as its code. */
export function misnamedCodeOf(error: object): string | undefined {
  return 'code' in error
    ? undefined
    : ['status', 'statusCode'].find((name) => Number.isInteger(Reflect.get(error, name)));
}

/**
 * True if an error has an integer code, and if it also has details or metadata or was created by this library. A code alone is not
 * sufficient, because it may be an exit code, or the code of a database error, whose message must not reach the caller.
 */
function isGrpcError(error: Error): boolean {
  if (!('code' in error && Number.isInteger(error.code))) return false;
  const hasDetails = 'details' in error && typeof error.details === 'string';
  return hasDetails || ('metadata' in error && isMetadataLike(error.metadata)) || isLibraryError(error);
}

/** True for RpcException, and for GrpcException of Nest 12, even from another copy of Nest. */
function hasGetError(error: object): error is { getError(): unknown } {
  return isError(error) && 'getError' in error && typeof error.getError === 'function';
}

/** Converts a message to text as grpc-js does for a header, or returns a placeholder if it is not readable. */
function readableText(message: unknown): string {
  if (typeof message === 'string') return wellFormed(message);
  // For example, the messages of a ValidationPipe.
  if (Array.isArray(message) && message.every((entry) => typeof entry === 'string'))
    return wellFormed(message.join(','));
  return typeof message === 'number' || typeof message === 'boolean' ? String(message) : 'Unknown Error';
}
