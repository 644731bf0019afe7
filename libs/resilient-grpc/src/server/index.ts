export type { GrpcServerEvent } from '../call/server-event.js';
export { CallSignal } from './calls/call.decorators.js';
export { CallTrailers } from './calls/call.decorators.js';
export { GrpcRequestStream } from './calls/request-stream.js';
export { GrpcException } from './errors/grpc-exception.js';
export { GrpcServerExceptionFilter } from './errors/grpc-server-exception.filter.js';
export { validationException } from './errors/validation-exception.js';
export { GrpcServerHealth } from './health/serving-health.js';
export { ResilientGrpcServerModule } from './resilient-grpc-server.module.js';
export { ResilientGrpcServer } from './resilient-grpc-server.js';
export type {
  OnceOptions,
  ResilientGrpcServerOptions,
  ResilientGrpcServerOptionsFactory,
  ServerMethodOptions,
} from './server-options.js';
export { MemoryOnceStore } from './once/memory-once-store.js';
export { PostgresOnceStore } from './once/postgres-once-store.js';
export type { OnceIdentity, OnceStore } from './once/once-store.js';
export { CallOnce, Once, type OnceWrite } from './once/once.decorators.js';
export {
  nextOnce,
  type OnceEvent,
  type OnceLimits,
  type OnceRecord,
  type OnceReply,
} from '../policy/once/next-once.js';
