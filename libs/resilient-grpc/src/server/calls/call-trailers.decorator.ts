import type { Metadata } from '@grpc/grpc-js';
import { createParamDecorator, type ExecutionContext } from '@nestjs/common';
import { serverCallOf } from '../../nest/inbound/grpc-inbound-call.js';
import { servedCallOf } from './served-call.js';

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
