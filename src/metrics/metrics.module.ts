import { Module } from '@nestjs/common';
import { ResilientGrpcTelemetryModule } from 'nestjs-resilient-grpc/telemetry';
import { MetricsController } from './metrics.controller.js';

/** The metrics of the gateway: those of our client, as Prometheus reads them. */
@Module({ imports: [ResilientGrpcTelemetryModule.forRoot()], controllers: [MetricsController] })
export class MetricsModule {}
