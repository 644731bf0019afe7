export type { ActiveCall } from './client/active-call.js';
export type { DrainReport } from './client/drain-report.js';
export type { ResilientGrpcClient } from './client/resilient-grpc-client.js';
export type {
  Serialized,
  BudgetSnapshot,
  CircuitSnapshot,
  ClientCounters,
  ErrorSnapshot,
  GrpcClientSnapshot,
  HedgingDelaySnapshot,
  LimitSnapshot,
  MethodSnapshot,
  RecentCalls,
} from './client/client-snapshot.js';
export type { ReadyOptions } from './client/wait-for-ready.js';
export { GrpcObservable } from './call/grpc-observable.js';
export type {
  ClientDrainMode,
  GrpcCallOptions,
  MetadataInput,
  RequestOf,
  RequestStream,
  Resilient,
  ResilientMethod,
} from './client/resilient-types.js';
export type { MetadataFunction } from './client/interceptors/metadata-source.js';
export type {
  GrpcClientInterceptor,
  GrpcClientInterceptorClass,
  OutgoingAttempt,
  OutgoingCall,
} from './client/interceptors/outgoing-call.js';
export type {
  GrpcClientDefaults,
  GrpcClientSettings,
  KeepaliveOptions,
  MethodOptions,
  PropagationOptions,
} from './client/settings/client-options.js';
export type { GrpcContract } from './client/settings/contract.js';
export type { CallPath, ChannelPathReason } from './call/call-path.js';
export type { AttemptEndReason, CallEnd, GrpcClientEvent, ConnectionEnd } from './call/call-event.js';
export type { UnsentField } from './call/unsent-field.js';
export type { UntestedVersion } from './call/untested-version.js';
export type { InboundCall } from './call/inbound-call.js';
export type {
  ConnectionSnapshot,
  Connectivity,
  ConnectivityState,
  ConnectivityTransition,
  EndpointSnapshot,
  OutageSnapshot,
  EndpointWatchSnapshot,
  ResolutionSnapshot,
} from './call/connectivity.js';
export type { MethodKind } from './call/method.js';
export { dnsServiceConfig, type DnsServiceConfigOptions } from './channel/dns/dns-service-config.js';
export type { TlsOptions } from './channel/tls/tls-material.js';
export type { AttemptRecord } from './errors/attempt-record.js';
export type { ConnectFailureKind } from './policy/connect-failure/connect-failures.js';
export type { RetryRefusal } from './errors/not-retried-reason.js';
export {
  GrpcCallError,
  isGrpcCallError,
  type FailureReason,
  type NotRetriedReason,
  type ReachedServer,
} from './errors/grpc-call-error.js';
export type { FieldViolation } from './errors/field-violation.js';
export type { StatusDetail } from './errors/status-details.js';
export {
  GrpcConfigurationError,
  isGrpcConfigurationError,
  type ConfigurationProblem,
} from './errors/grpc-configuration-error.js';
export { GrpcToHttpExceptionFilter } from './nest/errors/grpc-to-http-exception.filter.js';
export { GrpcToRpcExceptionFilter, type GrpcToRpcOptions } from './nest/errors/grpc-to-rpc-exception.filter.js';
export { GrpcHttpException, toHttpException, type GrpcHttpBody } from './nest/errors/to-http-exception.js';
export { GrpcClients } from './nest/grpc-clients.js';
export { getGrpcClientSettingsToken, getGrpcClientToken, getGrpcServiceToken } from './nest/grpc-tokens.js';
export { InjectGrpcClient } from './nest/inject-grpc-client.decorator.js';
export { InjectGrpcService } from './nest/inject-grpc-service.decorator.js';
export type {
  AsyncOptions,
  DrainOptions,
  ForFeatureExtras,
  GrpcClientAsyncOptions,
  GrpcClientOptions,
  GrpcClientOptionsFactory,
  NestGrpcClientOptions,
  ResilientGrpcModuleAsyncOptions,
  ResilientGrpcModuleOptions,
  ResilientGrpcModuleOptionsFactory,
} from './nest/module-options.js';
export { ResilientGrpcModule } from './nest/resilient-grpc.module.js';
export type { CircuitBreakerOptions } from './policy/circuit-breaker/circuit-breaker-policy.js';
export type { EjectUnhealthyOptions } from './policy/ejection/ejection-policy.js';
export type { HedgingPercentile } from './policy/hedging/measured-delay.js';
export type { EjectionEvidence, EjectionReason } from './policy/ejection/next-ejection.js';
export type {
  ConnectionScaling,
  HealthCheckConfig,
  LoadBalancingConfig,
  MethodConfig,
  RetryThrottling,
  ServiceConfig,
} from './policy/service-config/service-config.js';
export type { StatusCode, StatusName } from './status/status-code.js';
