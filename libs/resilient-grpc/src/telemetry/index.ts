export { ResilientGrpcTelemetryModule, type ResilientGrpcTelemetryOptions } from './resilient-grpc-telemetry.module.js';
