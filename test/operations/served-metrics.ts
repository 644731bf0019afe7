import type { IncomingMessage, ServerResponse } from 'node:http';
import { Controller, Get, Module, Req, Res } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { metrics } from '@opentelemetry/api';
import { PrometheusExporter } from '@opentelemetry/exporter-prometheus';
import { MeterProvider } from '@opentelemetry/sdk-metrics';
import { onTestFinished } from 'vitest';

/** An application that serves `/metrics`. */
export interface ServedMetrics {
  readonly address: string;
  /** Number of requests for the metrics so far. */
  readonly scrapes: number;
}

/** Registers the OpenTelemetry SDK, and serves `/metrics` from an application, as in docs/operate/telemetry.md. Closes both after the test. */
export async function serveMetrics(): Promise<ServedMetrics> {
  const exporter = new PrometheusExporter({ preventServerStart: true });
  const meters = new MeterProvider({ readers: [exporter] });
  metrics.setGlobalMeterProvider(meters);
  onTestFinished(async () => {
    metrics.disable();
    await meters.shutdown();
  });
  let scrapes = 0;
  @Controller('metrics')
  class MetricsController {
    @Get()
    scrape(@Req() request: IncomingMessage, @Res() response: ServerResponse): void {
      scrapes += 1;
      exporter.getMetricsRequestHandler(request, response);
    }
  }
  @Module({ controllers: [MetricsController] })
  class AppModule {}
  const app = await NestFactory.create(AppModule, { logger: false, forceCloseConnections: true });
  onTestFinished(() => app.close());
  await app.listen(0, '127.0.0.1');
  return {
    address: new URL(await app.getUrl()).host,
    get scrapes() {
      return scrapes;
    },
  };
}
