import type { Metadata } from '@grpc/grpc-js';
import { createParamDecorator, type ExecutionContext } from '@nestjs/common';
import { serverCallOf, GrpcInboundCall } from '../../nest/inbound/grpc-inbound-call.js';
import { servedCallOf } from './served-call.js';
import { systemClock } from '../../time/clock.js';

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

/**
 * Injects the trailers of a call into a gRPC handler: `@CallTrailers() trailers: Metadata`. Entries that the handler adds before its call
 * ends are sent with the status, even if the call fails. In a handler with `@GrpcStreamCall()`, pass trailers to `call.end(trailers)` or to
 * the callback instead.
 * @throws TypeError when the handler is called, if `ResilientGrpcServer` does not serve it
 */
export const CallTrailers = createParamDecorator((_data: unknown, context: ExecutionContext): Metadata => {
  const found = serverCallOf(context.getArgs());
  const served = found === undefined ? undefined : servedCallOf(found.call);
  if (served === undefined) throw new TypeError('@CallTrailers() requires a gRPC handler of ResilientGrpcServer');
  return served.trailers;
});
