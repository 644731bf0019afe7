export type {
  GrpcServerEvent,
  HandshakeFailureReason,
  ServerCallEnd,
  ServerDrainReport,
} from '../call/server-event.js';
export { CallSignal } from './calls/call-signal.decorator.js';
export { CallTrailers } from './calls/call-trailers.decorator.js';
export { GrpcRequestStream } from './calls/request-stream.js';
export type { ActiveServerStream } from './calls/server-calls.js';
export { GrpcException, type GrpcExceptionError, type GrpcExceptionOptions } from './errors/grpc-exception.js';
export { GrpcServerExceptionFilter } from './errors/grpc-server-exception.filter.js';
export { ValidationException, validationException } from './errors/validation-exception.js';
export { GrpcServerHealth } from './health/serving-health.js';
export type { ServerConcurrencyLimit, ServerOverload } from '../call/server-overload.js';
export { ResilientGrpcServerModule } from './resilient-grpc-server.module.js';
export { ResilientGrpcServer } from './resilient-grpc-server.js';
export type {
  ServerDrainMode,
  ResilientGrpcServerOptions,
  ResilientGrpcServerOptionsFactory,
  ServerMethodOptions,
} from './server-options.js';
