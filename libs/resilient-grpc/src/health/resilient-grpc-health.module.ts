import { Module } from '@nestjs/common';
import { ResilientGrpcCoreModule } from '../nest/resilient-grpc-core.module.js';
import { GrpcChannelHealthIndicator } from './grpc-channel.health-indicator.js';

/** Provides the health indicators; import it beside TerminusModule. */
@Module({
  imports: [ResilientGrpcCoreModule],
  providers: [GrpcChannelHealthIndicator],
  exports: [GrpcChannelHealthIndicator],
})
export class ResilientGrpcHealthModule {}
