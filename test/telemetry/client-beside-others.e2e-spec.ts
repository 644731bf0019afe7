import { createRequire } from 'node:module';
import { ClientsModule, Transport, type ClientGrpc } from '@nestjs/microservices';
import { Test } from '@nestjs/testing';
import { SpanKind, trace } from '@opentelemetry/api';
import { GrpcInstrumentation } from '@opentelemetry/instrumentation-grpc';
import { captureLeaks, waitFor } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom, lastValueFrom } from 'rxjs';
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import { EACH_METHOD, callOnce, protoName, type EchoService } from '../calls/support.js';
import { ECHO_PROTO } from '../testing/echo-client.js';
import { collectTelemetry } from './collected-telemetry.js';
import { instrumentedScene } from './instrumented-client.js';

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

const OURS = 'nestjs-resilient-grpc';
const THEIRS = '@opentelemetry/instrumentation-grpc';

async function scene() {
  instrumentation.enable();
  const telemetry = collectTelemetry();
  // The Node SDK does this at startup. Without it, spans would go to the provider of the previous test.
  instrumentation.setTracerProvider(trace.getTracerProvider());
  const { client, echo, server } = await instrumentedScene();
  /** '<scope> <name>' of ended spans. Skips server spans, because the server in this process is also instrumented. */
  const spans = () =>
    telemetry
      .spans()
      .filter(({ kind }) => kind !== SpanKind.SERVER)
      .map(({ name, instrumentationScope }) => `${instrumentationScope.name} ${name}`);
  const traceIds = () => [...new Set(telemetry.spans().map((span) => span.spanContext().traceId))];
  const traceparents = () => server.calls().map(({ metadata }) => metadata.get('traceparent'));
  return { client, echo, server, spans, traceIds, traceparents };
}

it.each(EACH_METHOD)(
  'creates the only client spans of a call to %s, even if @opentelemetry/instrumentation-grpc is enabled',
  async (method) => {
    const { echo, spans, traceparents } = await scene();
    await lastValueFrom(callOnce(echo, method), { defaultValue: undefined });
    const name = `testing.v1.Echo.${protoName(method)}`;
    expect(spans()).toEqual([`${OURS} Attempt.${name}`, `${OURS} Sent.${name}`]);
    expect(traceparents()).toEqual([[expect.any(String)]]);
  },
);

it('creates its spans for a call of the grpc-js client on the library channel inside the span of @opentelemetry/instrumentation-grpc', async () => {
  const { client, spans, traceIds, traceparents } = await scene();
  const plain = client.getClientByServiceName<any>('Echo');
  await new Promise((resolve) => plain.unary({}, resolve));
  await waitFor(() => spans().length === 3);
  const names = ['Attempt', 'Sent'].map((what) => `${OURS} ${what}.testing.v1.Echo.Unary`);
  expect(spans()).toEqual([...names, `${THEIRS} grpc.testing.v1.Echo/Unary`]);
  expect(traceIds()).toHaveLength(1);
  expect(traceparents()).toEqual([[expect.any(String)]]);
});

it("leaves calls of Nest's plain client to @opentelemetry/instrumentation-grpc, and creates no spans for them", async () => {
  const { server, echo, spans, traceparents } = await scene();
  const module = await Test.createTestingModule({
    imports: [
      ClientsModule.register([
        {
          name: 'plain',
          transport: Transport.GRPC,
          options: { url: server.url, package: 'testing.v1', protoPath: ECHO_PROTO },
        },
      ]),
    ],
  }).compile();
  await module.init();
  onTestFinished(() => module.close());
  const plain = module.get<ClientGrpc>('plain').getService<EchoService>('Echo');
  await firstValueFrom(plain.unary({}));
  await waitFor(() => spans().length > 0);
  const theirs = spans();
  expect(theirs).toEqual([`${THEIRS} grpc.testing.v1.Echo/Unary`]);
  await firstValueFrom(echo.unary({}));
  const names = ['Attempt', 'Sent'].map((what) => `${OURS} ${what}.testing.v1.Echo.Unary`);
  expect(spans()).toEqual([...theirs, ...names]);
  expect(traceparents()).toEqual([[expect.any(String)], [expect.any(String)]]);
});
