import { isMetadataLike } from '../../channel/attempt/call-metadata.js';
import { GrpcCallError, isGrpcCallError } from '../../errors/grpc-call-error.js';
import { isStatusCode, statusName, StatusCode } from '../../status/status-code.js';
import { FAKE_CLIENT, grpcError } from './grpc-error.js';

/**
 * Converts a value thrown by a handler into the error of a call. A `GrpcCallError` is returned unchanged. Anything else becomes the status
 * that a grpc-js server would send: its `code` and `details` (or message), or UNKNOWN and its message if it has no error code. The
 * metadata is kept in both cases.
 */
export function toCallError(thrown: unknown): GrpcCallError {
  if (isGrpcCallError(thrown)) return thrown;
  const { code, details, message, metadata } = propertiesOf(thrown);
  const isCode = isStatusCode(code) && code !== StatusCode.OK;
  const text = nonEmptyString(isCode ? (details ?? message) : message) ?? nonEmptyString(thrown) ?? 'Unknown Error';
  // Safe cast: OK was ruled out above.
  const name = (isCode ? statusName(code) : 'UNKNOWN') as Parameters<typeof grpcError>[0];
  return grpcError(name, text, {
    cause: thrown,
    ...(isMetadataLike(metadata) ? { metadata } : {}),
  });
}

/** Carries a handler's error through the call that the error ends. */
export class HandlerFailure {
  constructor(private readonly error: GrpcCallError) {}

  /**
   * Returns the handler's error as the error of its call, with the path of `callError`. If the handler's error has no attempts, those of
   * `callError` are used.
   */
  errorFor(callError: GrpcCallError): GrpcCallError {
    const { error } = this;
    return new GrpcCallError({
      code: error.code,
      details: error.details,
      metadata: error.metadata,
      client: FAKE_CLIENT,
      path: callError.path,
      peer: error.peer,
      reason: error.reason,
      // If a response has started, the request has reached the server, regardless of the reason for the end of the call.
      reachedServer: callError.reachedServer === 'yes' ? 'yes' : error.reachedServer,
      attempts: error.attempts.length > 0 ? error.attempts : callError.attempts,
      notRetriedBecause: error.notRetriedBecause,
      retryAfterMs: error.retryAfterMs,
      cause: error.cause ?? error,
    });
  }
}

function propertiesOf(thrown: unknown): Readonly<Record<string, unknown>> {
  // Safe cast: the values are `unknown` and are checked before use.
  return typeof thrown === 'object' && thrown !== null ? (thrown as Record<string, unknown>) : {};
}

function nonEmptyString(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}
