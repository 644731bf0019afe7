import { isMetadataLike } from '../../channel/attempt/call-metadata.js';
import { GrpcCallError, isGrpcCallError } from '../../errors/grpc-call-error.js';
import { isStatusCode, statusName, StatusCode } from '../../status/status-code.js';
import { FAKE_CLIENT, grpcError } from './grpc-error.js';

/**
 * What a handler threw as the error of a call: a `GrpcCallError` as it is, anything else as a server of grpc-js answers it, with its
 * `code` and `details` where it has them, else UNKNOWN with its text.
 */
export function toCallError(thrown: unknown): GrpcCallError {
  if (isGrpcCallError(thrown)) return thrown;
  const { code, details, message, metadata } = propertiesOf(thrown);
  const isCode = isStatusCode(code) && code !== StatusCode.OK;
  const text = textOf(isCode ? (details ?? message) : message) ?? textOf(thrown) ?? 'Unknown Error';
  // True: OK was ruled out above.
  const name = (isCode ? statusName(code) : 'UNKNOWN') as Parameters<typeof grpcError>[0];
  return grpcError(name, text, {
    cause: thrown,
    ...(isMetadataLike(metadata) ? { metadata } : {}),
  });
}

/** Marks the error of a handler on its way through the call that it ends. */
export class HandlerFailure {
  constructor(private readonly error: GrpcCallError) {}

  /** As the error of `call`, which it ended. */
  toldBy(call: GrpcCallError): GrpcCallError {
    const { error } = this;
    return new GrpcCallError({
      code: error.code,
      details: error.details,
      metadata: error.metadata,
      client: FAKE_CLIENT,
      path: call.path,
      peer: error.peer,
      reason: error.reason,
      // Once an answer has begun the request has arrived, whatever ended it.
      reachedServer: call.reachedServer === 'yes' ? 'yes' : error.reachedServer,
      attempts: error.attempts.length > 0 ? error.attempts : call.attempts,
      notRetriedBecause: error.notRetriedBecause,
      retryAfterMs: error.retryAfterMs,
      cause: error.cause ?? error,
    });
  }
}

function propertiesOf(thrown: unknown): Readonly<Record<string, unknown>> {
  // True: any object may have such properties, and none of them is trusted.
  return typeof thrown === 'object' && thrown !== null ? (thrown as Record<string, unknown>) : {};
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}
