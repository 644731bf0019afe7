import { createParamDecorator, type ExecutionContext } from '@nestjs/common';
import { GrpcInboundCall, serverCallOf } from '../../nest/inbound/grpc-inbound-call.js';
import { systemClock } from '../../time/clock.js';
import { servedCallOf } from './served-call.js';

/**
 * `@CallSignal() signal: AbortSignal` of a gRPC handler: aborted when the caller cancels, its deadline passes, or the server, which
 * shuts down or finds the stream idle, does not want its work any more.
 */
export const CallSignal = createParamDecorator((_data: unknown, context: ExecutionContext): AbortSignal => {
  const found = serverCallOf(context.getArgs());
  if (found === undefined) throw new TypeError('@CallSignal() is for handlers of gRPC methods');
  const inbound = servedCallOf(found.call)?.inbound ?? new GrpcInboundCall(found.call, systemClock);
  return inbound.signal;
});
