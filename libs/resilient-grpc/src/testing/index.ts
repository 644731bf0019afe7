export { ChildServer, type ChildServerOptions } from './child-process-server.js';
export { FaultProxy } from './fault-proxy/fault-proxy.js';
export type {
  Direction,
  CloseMode,
  FaultProxyCounters,
  FaultProxyOptions,
  IdleCloseMode,
  ProxyMode,
} from './fault-proxy/faults.js';
export { fakeGrpcService, type FakeGrpcService } from './fake-service/fake-grpc-service.js';
export type {
  FakeResponse,
  FakeCall,
  FakeCallOutcome,
  FakeCallRecord,
  FakeCallRecords,
  FakeHandlers,
  MethodName,
} from './fake-service/fake-call.js';
export { freePort } from './free-port.js';
export { grpcError, type GrpcErrorOptions } from './fake-service/grpc-error.js';
export { Http2FaultProxy } from './http2-faults/http2-fault-proxy.js';
export { HTTP2_ERROR_CODES } from '../status/http2-error-codes.js';
export type {
  CallFilter,
  CallFault,
  GoawayFault,
  GoawayOptions,
  Http2ErrorCode,
  Http2FaultProxyCounters,
  Http2FaultProxyOptions,
  MissingTrailersFault,
  ResetFault,
  ResetPoint,
  UpstreamTls,
} from './http2-faults/http2-faults.js';
export { captureLeaks, failOnLeaks } from './leaks/capture-leaks.js';
export type { LeakCheck, LeakOptions, TestHook } from './leaks/capture-leaks.js';
export { overrideGrpcClient } from './override-grpc-client.js';
export { ScriptedGrpcServer, type StopMode } from './scripted-server/scripted-grpc-server.js';
export type { ScriptedGrpcServerOptions, ScriptedServerTls } from './scripted-server/scripted-server-options.js';
export type { ServiceDefinitionOptions } from './scripted-server/service-methods.js';
export type { MessageSource, MetadataRecord, Reply, Script } from './scripted-server/reply.js';
export type { CallCounts, CallOutcome, CallRecord, ScriptedCall } from './scripted-server/scripted-call.js';
export { seededRandom } from './seeded-random.js';
export { VirtualClock } from './virtual-clock.js';
export { VirtualScheduler } from './virtual-scheduler.js';
export { waitFor, type Truthy, type WaitForOptions } from './wait-for.js';
export type { Random } from '../time/random.js';
