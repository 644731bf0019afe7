import { isGrpcCallError, type FailureReason, type GrpcCallError } from '../../errors/grpc-call-error.js';
import { isResumeError } from '../../errors/resume-error.js';

/** The failed call that `error` tells of: itself, or the last one of a stream that was resumed. */
export function callErrorOf(error: unknown): GrpcCallError | undefined {
  if (isGrpcCallError(error)) return error;
  return isResumeError(error) && isGrpcCallError(error.cause) ? error.cause : undefined;
}

const CALLER_GONE: ReadonlySet<FailureReason> = new Set(['cancelled', 'inbound-cancelled']);

/** Whether the caller has left, or the one it serves. A server that says CANCELLED speaks of something of its own. */
export function isOfLeaving({ codeName, reason }: GrpcCallError): boolean {
  return codeName === 'CANCELLED' && CALLER_GONE.has(reason);
}

/** Whether `details` are the words of the other side's application, and not of this process, a transport or a proxy. */
export function inServersWords({ reason, reachedServer }: GrpcCallError): boolean {
  return reason === 'server' && reachedServer === 'yes';
}
