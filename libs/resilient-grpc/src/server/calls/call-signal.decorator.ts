import { createParamDecorator, type ExecutionContext } from '@nestjs/common';
import { GrpcInboundCall, serverCallOf } from '../../nest/inbound/grpc-inbound-call.js';
import { systemClock } from '../../time/clock.js';
import { servedCallOf } from './served-call.js';

/**
 * Injects the `AbortSignal` of a call into a gRPC handler: `@CallSignal() signal: AbortSignal`. The signal is aborted when the caller
 * cancels, the deadline passes, or the server ends the call, for example because of a shutdown or an idle stream. Its reason is an AbortError.
 * @throws TypeError when a handler of another transport is called
 */
export const CallSignal = createParamDecorator((_data: unknown, context: ExecutionContext): AbortSignal => {
  const found = serverCallOf(context.getArgs());
  if (found === undefined) throw new TypeError('@CallSignal() can only be used in handlers of gRPC methods');
  const inbound = servedCallOf(found.call)?.inbound ?? new GrpcInboundCall(found.call, systemClock);
  return inbound.signal;
});
