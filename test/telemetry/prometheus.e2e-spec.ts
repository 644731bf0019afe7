import { readFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { Controller, Get, Module, Req, Res } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { metrics } from '@opentelemetry/api';
import { PrometheusExporter } from '@opentelemetry/exporter-prometheus';
import { MeterProvider } from '@opentelemetry/sdk-metrics';
import { captureLeaks } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom } from 'rxjs';
import { afterAll, expect, it, onTestFinished } from 'vitest';
import { instrumentedScene } from './instrumented-client.js';

const leaks = captureLeaks();
afterAll(() => leaks.settled());

const DOCS = readFileSync(new URL('../../docs/operate/telemetry.md', import.meta.url), 'utf8');
/** The PromQL queries in the docs. They contain names and labels of metrics. */
const QUERIES = [...DOCS.matchAll(/^```promql\n(.*?)^```/gms)].map(([, text]) => text!).join('\n');

/** Scrapes the metrics of a client from an application that serves them as in docs/operate/telemetry.md. */
async function scrapeMetrics(): Promise<string> {
  const prometheus = new PrometheusExporter({ preventServerStart: true });
  const meters = new MeterProvider({ readers: [prometheus] });
  metrics.setGlobalMeterProvider(meters);
  onTestFinished(async () => {
    metrics.disable();
    await meters.shutdown();
  });
  const { echo } = await instrumentedScene();
  await firstValueFrom(echo.unary({}));
  @Controller('metrics')
  class MetricsController {
    @Get()
    scrape(@Req() request: IncomingMessage, @Res() response: ServerResponse): void {
      prometheus.getMetricsRequestHandler(request, response);
    }
  }
  @Module({ controllers: [MetricsController] })
  class AppModule {}
  const app = await NestFactory.create(AppModule, { logger: false, forceCloseConnections: true });
  onTestFinished(() => app.close());
  await app.listen(0, '127.0.0.1');
  return (await fetch(`${await app.getUrl()}/metrics`)).text();
}

it('exports the metrics and labels that the queries in the docs use', async () => {
  const text = await scrapeMetrics();
  const names = new Set(QUERIES.match(/\b(?:resilient_)?grpc_(?:client|server|subchannel)_\w+/g));
  expect(names.size).toBeGreaterThanOrEqual(3);
  for (const name of names) expect(text).toMatch(new RegExp(`^${name}\\{.*\\} \\d`, 'm'));
  const labels = new Set(
    [...QUERIES.matchAll(/by \(([\w, ]+)\)|\{(\w+)/g)].flatMap(([, by, of]) => by?.split(', ') ?? of!),
  );
  expect([...labels]).toContain('grpc_method');
  for (const label of labels) expect(text).toContain(`${label}="`);
});
