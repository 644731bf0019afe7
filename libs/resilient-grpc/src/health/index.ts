export {
  GrpcChannelHealthIndicator,
  type ChannelCheckAllOptions,
  type ChannelCheckOptions,
} from './grpc-channel.health-indicator.js';
export { ResilientGrpcHealthModule } from './resilient-grpc-health.module.js';
