import { createRequire } from 'node:module';
import { Controller } from '@nestjs/common';
import { GrpcMethod } from '@nestjs/microservices';
import { SpanKind } from '@opentelemetry/api';
import { GrpcInstrumentation } from '@opentelemetry/instrumentation-grpc';
import { captureLeaks, waitFor } from 'nestjs-resilient-grpc/testing';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { collectTelemetry, serveTold } from './collected-telemetry.js';

const leaks = captureLeaks();
let instrumentation: GrpcInstrumentation;
beforeAll(() => {
  instrumentation = new GrpcInstrumentation();
  // It changes what is required from now on, in place: those who have imported it see that too.
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

async function servedOnce() {
  const told = collectTelemetry();
  nested = () => {
    told.nested('query');
  };
  const { client } = await serveTold(OrdersController);
  await new Promise((resolve) => (client as any).get({ id: '7' }, resolve));
  await waitFor(async () => (await told.recorded('grpc.server.call.duration')) !== undefined);
  const served = told.spans().filter(({ kind }) => kind === SpanKind.SERVER);
  return { told, served, query: await told.span('query') };
}

it('leaves the span of a call to @opentelemetry/instrumentation-grpc where that is at work, and keeps its metrics', async () => {
  instrumentation.enable();
  const { served, query, told } = await servedOnce();
  expect(served.map(({ name }) => name)).toEqual(['grpc.orders.v1.Orders/Get']);
  expect(query.parentSpanContext?.spanId).toBe(served[0]!.spanContext().spanId);
  expect(await told.count('grpc.server.call.started')).toBe(1);
});

it('makes its own again where that is disabled', async () => {
  instrumentation.disable();
  const { served, query } = await servedOnce();
  expect(served.map(({ name }) => name)).toEqual(['Recv.orders.v1.Orders.Get']);
  expect(query.parentSpanContext?.spanId).toBe(served[0]!.spanContext().spanId);
});
