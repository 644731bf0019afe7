export { GrpcChannelHealthIndicator } from './grpc-channel.health-indicator.js';
export { GrpcReadinessHealthIndicator } from './grpc-readiness.health-indicator.js';
export { GrpcServingHealthIndicator } from './grpc-serving.health-indicator.js';
export { ResilientGrpcHealthModule } from './resilient-grpc-health.module.js';
