import { isGrpcCallError, type FailureReason, type GrpcCallError } from '../../errors/grpc-call-error.js';
import { isResumeError } from '../../errors/resume-error.js';

/** Returns the failed call behind `error`: the error itself, or that of the last call of a resumed stream. */
export function callErrorOf(error: unknown): GrpcCallError | undefined {
  if (isGrpcCallError(error)) return error;
  return isResumeError(error) && isGrpcCallError(error.cause) ? error.cause : undefined;
}

const CALLER_GONE: ReadonlySet<FailureReason> = new Set(['cancelled', 'inbound-cancelled']);

/** True if the caller cancelled, or the inbound call it serves was cancelled. A CANCELLED status of the server has another cause. */
export function isCallerCancellation({ codeName, reason }: GrpcCallError): boolean {
  return codeName === 'CANCELLED' && CALLER_GONE.has(reason);
}

/** True if `details` come from the server's application, not from this process, a transport, or a proxy. */
export function isFromServer({ reason, reachedServer }: GrpcCallError): boolean {
  return reason === 'server' && reachedServer === 'yes';
}
