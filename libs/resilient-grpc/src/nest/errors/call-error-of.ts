import { isGrpcCallError, type FailureReason, type GrpcCallError } from '../../errors/grpc-call-error.js';
import { ResumeError } from '../../errors/stream-errors.js';

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
