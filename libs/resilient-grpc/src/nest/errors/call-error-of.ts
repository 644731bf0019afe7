import { isGrpcCallError, type GrpcCallError } from '../../errors/grpc-call-error.js';
import { isResumeError } from '../../errors/resume-error.js';

/** The failed call that `error` tells of: itself, or the last one of a stream that was resumed. */
export function callErrorOf(error: unknown): GrpcCallError | undefined {
  if (isGrpcCallError(error)) return error;
  return isResumeError(error) && isGrpcCallError(error.cause) ? error.cause : undefined;
}

/** Whether `details` are the words of the other side's application, and not of this process, a transport or a proxy. */
export function inServersWords({ reason, reachedServer }: GrpcCallError): boolean {
  return reason === 'server' && reachedServer === 'yes';
}
