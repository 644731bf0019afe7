import { createServer } from 'node:http2';
import { createRequire } from 'node:module';
import { Controller } from '@nestjs/common';
import { GrpcMethod } from '@nestjs/microservices';
import { context, SpanKind, trace } from '@opentelemetry/api';
import { GrpcInstrumentation } from '@opentelemetry/instrumentation-grpc';
import { captureLeaks, waitFor } from 'nestjs-resilient-grpc/testing';
import { afterAll, beforeAll, expect, it, onTestFinished, vi } from 'vitest';
import { collectTelemetry, serveInstrumented } from './collected-telemetry.js';

const leaks = captureLeaks();
let instrumentation: GrpcInstrumentation;
beforeAll(() => {
  instrumentation = new GrpcInstrumentation();
  // The instrumentation patches grpc-js in place when grpc-js is required, so that earlier imports are also patched.
  createRequire(import.meta.url)('@grpc/grpc-js');
});
afterAll(async () => {
  instrumentation.disable();
  await leaks.settled();
});

/** Starts a server span for each stream of node:http2 until the end of the test, as Elastic's agent does. */
function traceHttp2Streams(): void {
  const server = createServer();
  const prototype = Object.getPrototypeOf(server) as { emit: (...args: unknown[]) => boolean };
  server.close();
  const { emit } = prototype;
  prototype.emit = function (this: unknown, ...args: unknown[]) {
    const run = () => emit.apply(this, args);
    if (args[0] !== 'stream') return run();
    const span = trace.getTracer('elastic').startSpan('POST unknown route', { kind: SpanKind.SERVER });
    (args[1] as NodeJS.EventEmitter).once('close', () => {
      span.end();
    });
    const within = trace.setSpan(context.active(), span);
    context.bind(within, args[1]);
    return context.with(within, run);
  };
  onTestFinished(() => {
    prototype.emit = emit;
  });
}

let nested: () => void = () => undefined;

@Controller()
class OrdersController {
  @GrpcMethod('Orders', 'Get')
  async get({ id }: { id: string }): Promise<object> {
    await new Promise((resolve) => setImmediate(resolve));
    nested();
    return { id };
  }
}

async function serveOnce() {
  const telemetry = collectTelemetry();
  nested = () => {
    telemetry.nested('query');
  };
  const { client } = await serveInstrumented(OrdersController);
  await new Promise((resolve) => (client as any).get({ id: '7' }, resolve));
  await waitFor(async () => (await telemetry.recorded('grpc.server.call.duration')) !== undefined);
  await waitFor(() => telemetry.spans().some(({ kind }) => kind === SpanKind.SERVER));
  const served = telemetry.spans().filter(({ kind }) => kind === SpanKind.SERVER);
  return { telemetry, served, query: await telemetry.span('query') };
}

it('records metrics but creates no span for a served call if @opentelemetry/instrumentation-grpc is enabled', async () => {
  instrumentation.enable();
  const { served, query, telemetry } = await serveOnce();
  expect(served.map(({ name }) => name)).toEqual(['grpc.orders.v1.Orders/Get']);
  expect(query.parentSpanContext?.spanId).toBe(served[0]!.spanContext().spanId);
  expect(await telemetry.count('grpc.server.call.started')).toBe(1);
});

it('creates the span of a served call if @opentelemetry/instrumentation-grpc is disabled', async () => {
  instrumentation.disable();
  const { served, query } = await serveOnce();
  expect(served.map(({ name }) => name)).toEqual(['Recv.orders.v1.Orders.Get']);
  expect(query.parentSpanContext?.spanId).toBe(served[0]!.spanContext().spanId);
});

it('creates no span for a served call if an agent traces the streams of node:http2', async () => {
  // Other servers have no such streams.
  vi.stubEnv('NESTJS_RESILIENT_GRPC_TRANSPORT', 'grpc-js');
  onTestFinished(() => void vi.unstubAllEnvs());
  instrumentation.disable();
  traceHttp2Streams();
  const { served, query, telemetry } = await serveOnce();
  expect(served.map(({ name }) => name)).toEqual(['POST unknown route']);
  expect(query.parentSpanContext?.spanId).toBe(served[0]!.spanContext().spanId);
  expect(await telemetry.count('grpc.server.call.started')).toBe(1);
});
