import { Module } from '@nestjs/common';
import { ResilientGrpcCoreModule } from '../nest/resilient-grpc-core.module.js';
import { GrpcChannelHealthIndicator } from './grpc-channel.health-indicator.js';
import { GrpcReadinessHealthIndicator } from './grpc-readiness.health-indicator.js';
import { GrpcServingHealthIndicator } from './grpc-serving.health-indicator.js';

const INDICATORS = [GrpcReadinessHealthIndicator, GrpcChannelHealthIndicator, GrpcServingHealthIndicator];

/** Provides the health indicators; import it next to TerminusModule. */
@Module({ imports: [ResilientGrpcCoreModule], providers: INDICATORS, exports: INDICATORS })
export class ResilientGrpcHealthModule {}
