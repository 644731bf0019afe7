export {
  GrpcChannelHealthIndicator,
  type ChannelCheckAllOptions,
  type ChannelCheckOptions,
} from './grpc-channel.health-indicator.js';
export { GrpcReadinessHealthIndicator, type ReadinessCheckOptions } from './grpc-readiness.health-indicator.js';
export { GrpcServingHealthIndicator, type ServingCheckOptions } from './grpc-serving.health-indicator.js';
export { ResilientGrpcHealthModule } from './resilient-grpc-health.module.js';
