import { compressionAlgorithms, credentials, type Client } from '@grpc/grpc-js';
import type { Type } from '@nestjs/common';
import type { MicroserviceOptions } from '@nestjs/microservices';
import { Test } from '@nestjs/testing';
import { ROOT_CONTEXT, context, metrics, propagation, trace, type SpanContext } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { W3CTraceContextPropagator } from '@opentelemetry/core';
import {
  MeterProvider,
  MetricReader,
  type DataPoint,
  type Histogram,
  type MetricData,
} from '@opentelemetry/sdk-metrics';
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  SimpleSpanProcessor,
  type ReadableSpan,
} from '@opentelemetry/sdk-trace-base';
import {
  ResilientGrpcServer,
  ResilientGrpcServerModule,
  type ResilientGrpcServerOptions,
} from 'nestjs-resilient-grpc/server';
import { ResilientGrpcTelemetryModule, type ResilientGrpcTelemetryOptions } from 'nestjs-resilient-grpc/telemetry';
import { waitFor } from 'nestjs-resilient-grpc/testing';
import { onTestFinished } from 'vitest';
import { CapturedLog } from '../support/captured-log.js';
import { ordersOf, ordersOptions, ownUrl } from '../server/served-orders.js';

/** A metric reader that collects only on demand. */
class OnDemandReader extends MetricReader {
  protected override onForceFlush(): Promise<void> {
    return Promise.resolve();
  }
  protected override onShutdown(): Promise<void> {
    return Promise.resolve();
  }
}

export type Attributes = Readonly<Record<string, unknown>>;

/** Registers the official SDK for one test; returns functions that read the collected telemetry and create spans. */
export function collectTelemetry() {
  const reader = new OnDemandReader();
  const meters = new MeterProvider({ readers: [reader] });
  const exporter = new InMemorySpanExporter();
  const tracers = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });
  metrics.setGlobalMeterProvider(meters);
  trace.setGlobalTracerProvider(tracers);
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  propagation.setGlobalPropagator(new W3CTraceContextPropagator());
  onTestFinished(async () => {
    for (const api of [metrics, trace, context, propagation]) api.disable();
    await meters.shutdown();
    await tracers.shutdown();
  });
  const instruments = async (): Promise<readonly MetricData[]> => {
    const { resourceMetrics, errors } = await reader.collect();
    if (errors.length > 0) throw errors[0] as Error;
    return resourceMetrics.scopeMetrics.flatMap((scope) => scope.metrics);
  };
  const points = async (name: string, attributes: Attributes): Promise<readonly DataPoint<unknown>[]> => {
    const found = (await instruments()).find(({ descriptor }) => descriptor.name === name);
    const all = (found?.dataPoints ?? []) as readonly DataPoint<unknown>[];
    return all.filter((point) => Object.entries(attributes).every(([key, value]) => point.attributes[key] === value));
  };
  const tracer = trace.getTracer('the application');
  return {
    instruments,
    /** Instrumentation scopes of the meters. */
    scopes: async () => (await reader.collect()).resourceMetrics.scopeMetrics.map(({ scope }) => scope),
    /** Sum of a counter or up-down counter over the data points with these attributes; 0 if no data point has them. */
    count: async (name: string, attributes: Attributes = {}): Promise<number> =>
      (await points(name, attributes)).reduce((sum, { value }) => sum + (value as number), 0),
    /** Value of a gauge; `undefined` if absent. */
    gauge: async (name: string, attributes: Attributes = {}): Promise<number | undefined> => {
      const [point] = await points(name, attributes);
      return point?.value as number | undefined;
    },
    /** Value of a histogram; `undefined` if nothing was recorded. */
    recorded: async (name: string, attributes: Attributes = {}) => {
      const [point] = await points(name, attributes);
      return point?.value as Histogram | undefined;
    },
    /** Ended spans in the order in which they ended. */
    spans: (): readonly ReadableSpan[] => exporter.getFinishedSpans(),
    /** Resolves to the span with this name after the span has ended. */
    span: async (name: string): Promise<ReadableSpan> => {
      const found = () => exporter.getFinishedSpans().find((span) => span.name === name);
      await waitFor(() => found() !== undefined);
      return found()!;
    },
    /** True within the context of a span. */
    isActive: () => trace.getActiveSpan() !== undefined,
    /** Creates a child of the active span, as database instrumentation does for a query. */
    nested: (name: string) => {
      tracer.startSpan(name).end();
    },
    /** Runs `work` in the context of a span that another process created. */
    inContextOf: <T>(span: SpanContext, work: () => Promise<T>): Promise<T> =>
      context.with(trace.setSpanContext(ROOT_CONTEXT, span), work),
    /** Runs `work` within a span of the application. */
    within: <T>(name: string, work: () => Promise<T>): Promise<T> =>
      tracer.startActiveSpan(name, async (span) => {
        try {
          return await work();
        } finally {
          span.end();
        }
      }),
  };
}

/**
 * Serves `Orders` with `controller` in a microservice with the telemetry module; without the module if `telemetry` is false. The
 * microservice is closed after the test.
 */
export async function serveInstrumented(
  controller: Type,
  options: Partial<ResilientGrpcServerOptions> = {},
  telemetry?: ResilientGrpcTelemetryOptions | false,
) {
  const url = ownUrl();
  const module = await Test.createTestingModule({
    imports: [
      ...(telemetry === false ? [] : [ResilientGrpcTelemetryModule.forRoot(telemetry)]),
      ResilientGrpcServerModule.forRoot(ordersOptions(url, options)),
    ],
    controllers: [controller],
  })
    .setLogger(new CapturedLog())
    .compile();
  const server = module.get(ResilientGrpcServer);
  const app = module.createNestMicroservice<MicroserviceOptions>({ strategy: server });
  await app.listen();
  let closing: Promise<void> | undefined;
  const close = () => (closing ??= app.close());
  onTestFinished(close);
  return { url, server, close, client: ordersOf(url).client };
}

/** Creates a client that compresses its requests. It is closed after the test. */
export function compressingOrders(url: string): any {
  const Orders = ordersOf(url).client.constructor as new (...args: ConstructorParameters<typeof Client>) => Client;
  const client = new Orders(url, credentials.createInsecure(), {
    'grpc.default_compression_algorithm': compressionAlgorithms.gzip,
  });
  onTestFinished(() => {
    client.close();
  });
  return client;
}

/** Serialized size of a message in bytes. */
export function bytesOf(client: Client, method: string, side: 'request' | 'response', message: object): number {
  const { service } = client.constructor as unknown as {
    service: Record<string, Record<string, (message: object) => Buffer>>;
  };
  return service[method]![side === 'request' ? 'requestSerialize' : 'responseSerialize']!(message).length;
}
