import type { IncomingMessage, ServerResponse } from 'node:http';
import { Controller, Get, Module, Req, Res } from '@nestjs/common';
import { metrics } from '@opentelemetry/api';
import { PrometheusExporter } from '@opentelemetry/exporter-prometheus';
import { MeterProvider } from '@opentelemetry/sdk-metrics';
import { ResilientGrpcTelemetryModule } from 'nestjs-resilient-grpc/telemetry';

/** Exports metrics through a route of the application instead of a separate port. */
const prometheus = new PrometheusExporter({ preventServerStart: true });

/** Registers the SDK. Must be called before the application is created, because clients look up the meter provider on creation. */
export function collectMetrics(): void {
  metrics.setGlobalMeterProvider(new MeterProvider({ readers: [prometheus] }));
}

/** The endpoint that Prometheus scrapes. */
@Controller('metrics')
class MetricsController {
  @Get()
  scrape(@Req() request: IncomingMessage, @Res() response: ServerResponse): void {
    prometheus.getMetricsRequestHandler(request, response);
  }
}

/** Exposes the metrics of our client for Prometheus. */
@Module({ imports: [ResilientGrpcTelemetryModule.forRoot({ traces: false })], controllers: [MetricsController] })
export class MetricsModule {}
