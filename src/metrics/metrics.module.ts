import { Module } from '@nestjs/common';
import { ResilientGrpcTelemetryModule } from 'nestjs-resilient-grpc/telemetry';
import { MetricsController } from './metrics.controller.js';

/** Exposes the metrics of our client for Prometheus. */
@Module({ imports: [ResilientGrpcTelemetryModule.forRoot()], controllers: [MetricsController] })
export class MetricsModule {}
