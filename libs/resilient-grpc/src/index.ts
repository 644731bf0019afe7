export type { ActiveCall } from './client/client-snapshot.js';
export type { DrainReport } from './call/call-event.js';
export type { OnceOutcome } from './client/once/ask-outcome.js';
export type { ResilientGrpcClient } from './client/resilient-grpc-client.js';
export type { GrpcClientSnapshot } from './client/client-snapshot.js';
export { GrpcObservable } from './call/grpc-observable.js';
export type { GrpcCallOptions, MetadataInput, RequestStream, Resilient } from './client/resilient-types.js';
export type { GrpcClientInterceptor, OutgoingAttempt, OutgoingCall } from './client/interceptors/call-hooks.js';
export type {
  GrpcClientDefaults,
  GrpcClientSettings,
  KeepaliveOptions,
  MethodOptions,
  PropagationOptions,
} from './client/settings/client-options.js';
export type { CallEnd, GrpcClientEvent } from './call/call-event.js';
export type { InboundCall } from './call/inbound-call.js';
export type { Connectivity } from './call/connectivity.js';
export type { MethodKind } from './call/method.js';
export { dnsServiceConfig } from './channel/dns/dns-service-config.js';
export type { TlsOptions } from './channel/tls/tls-material.js';
export type { AttemptRecord } from './errors/grpc-call-error.js';
export {
  GrpcCallError,
  isGrpcCallError,
  type FailureReason,
  type NotRetriedReason,
  type ReachedServer,
} from './errors/grpc-call-error.js';
export type { StatusDetail } from './errors/status-details.js';
export { GrpcConfigurationError } from './errors/grpc-configuration-error.js';
export { GrpcToHttpExceptionFilter } from './nest/errors/grpc-to-http-exception.filter.js';
export { GrpcToRpcExceptionFilter } from './nest/errors/grpc-to-rpc-exception.filter.js';
export { toHttpException } from './nest/errors/to-http-exception.js';
export { GrpcClients } from './nest/grpc-clients.js';
export { getGrpcClientToken, getGrpcServiceToken } from './nest/grpc-tokens.js';
export { InjectGrpcClient } from './nest/grpc-tokens.js';
export { InjectGrpcService } from './nest/grpc-tokens.js';
export type {
  DrainOptions,
  GrpcClientAsyncOptions,
  GrpcClientOptions,
  GrpcClientOptionsFactory,
  ResilientGrpcModuleAsyncOptions,
  ResilientGrpcModuleOptions,
  ResilientGrpcModuleOptionsFactory,
} from './nest/module-options.js';
export { ResilientGrpcModule } from './nest/resilient-grpc.module.js';
export type { CircuitBreakerOptions } from './policy/circuit-breaker/circuit-breaker.js';
export type { ServiceConfig } from './policy/service-config/service-config.js';
export type { StatusCode, StatusName } from './status/status-code.js';
