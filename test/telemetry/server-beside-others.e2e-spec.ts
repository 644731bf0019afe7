import { createRequire } from 'node:module';
import { Controller } from '@nestjs/common';
import { GrpcMethod } from '@nestjs/microservices';
import { SpanKind } from '@opentelemetry/api';
import { GrpcInstrumentation } from '@opentelemetry/instrumentation-grpc';
import { captureLeaks, waitFor } from 'nestjs-resilient-grpc/testing';
import { afterAll, beforeAll, expect, it } from 'vitest';
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
