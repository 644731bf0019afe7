import { Metadata } from '@grpc/grpc-js';
import { ClientsModule, Transport, type ClientGrpc } from '@nestjs/microservices';
import { Test } from '@nestjs/testing';
import { SpanKind, trace } from '@opentelemetry/api';
import { GrpcInstrumentation } from '@opentelemetry/instrumentation-grpc';
import type { ReadableSpan } from '@opentelemetry/sdk-trace-base';
import { captureLeaks, waitFor, type ScriptedGrpcServer } from 'nestjs-resilient-grpc/testing';
import { concat, firstValueFrom, lastValueFrom, NEVER, of, tap, type Observable } from 'rxjs';
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import { retrying } from '../calls/service-configs.js';
import {
  EACH_METHOD,
  ECHOES,
  callOnce,
  protoName,
  startServer,
  type EchoService,
  type ServerSettings,
} from '../calls/support.js';
import { ECHO_PROTO } from '../testing/echo-client.js';
import { collectTelemetry } from './collected-telemetry.js';
import { instrumentedClient, instrumentedScene } from './instrumented-client.js';

const leaks = captureLeaks();
let instrumentation: GrpcInstrumentation;
beforeAll(() => {
  instrumentation = new GrpcInstrumentation();
  // The instrumentation patches grpc-js in place when grpc-js is required. These tests only import it.
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

it('leaves a call of the grpc-js client on the library channel to @opentelemetry/instrumentation-grpc, with a single span', async () => {
  const { client, spans, traceIds, traceparents } = await scene();
  const plain = client.getClientByServiceName<any>('Echo');
  await new Promise((resolve) => plain.unary({}, resolve));
  await waitFor(() => spans().length > 0);
  expect(spans()).toEqual([`${THEIRS} grpc.testing.v1.Echo/Unary`]);
  expect(traceIds()).toHaveLength(1);
  expect(traceparents()).toEqual([[expect.any(String)]]);
});

/** Creates Nest's plain client, which is closed after the test. */
async function plainEcho(url: string, retried?: object): Promise<EchoService> {
  const channelOptions = retried && { 'grpc.service_config': JSON.stringify(retried) };
  const module = await Test.createTestingModule({
    imports: [
      ClientsModule.register([
        {
          name: 'plain',
          transport: Transport.GRPC,
          options: { url, package: 'testing.v1', protoPath: ECHO_PROTO, ...(channelOptions && { channelOptions }) },
        },
      ]),
    ],
  }).compile();
  await module.init();
  onTestFinished(() => module.close());
  return module.get<ClientGrpc>('plain').getService<EchoService>('Echo');
}

it("leaves calls of Nest's plain client to @opentelemetry/instrumentation-grpc, and creates no spans for them", async () => {
  const { server, echo, spans, traceparents } = await scene();
  const plain = await plainEcho(server.url);
  await firstValueFrom(plain.unary({}));
  await waitFor(() => spans().length > 0);
  const theirs = spans();
  expect(theirs).toEqual([`${THEIRS} grpc.testing.v1.Echo/Unary`]);
  await firstValueFrom(echo.unary({}));
  const names = ['Attempt', 'Sent'].map((what) => `${OURS} ${what}.testing.v1.Echo.Unary`);
  expect(spans()).toEqual([...theirs, ...names]);
  expect(traceparents()).toEqual([[expect.any(String)], [expect.any(String)]]);
});

it('leaves client spans to @opentelemetry/instrumentation-grpc if those of the telemetry module are off, and records metrics', async () => {
  instrumentation.enable();
  const telemetry = collectTelemetry();
  instrumentation.setTracerProvider(trace.getTracerProvider());
  const { echo, server } = await instrumentedScene({}, {}, { traces: { client: false } });
  await firstValueFrom(echo.unary({}));
  const sent = telemetry.spans().filter(({ kind }) => kind === SpanKind.CLIENT);
  expect(sent.map(({ name }) => name)).toEqual(['grpc.testing.v1.Echo/Unary']);
  expect(server.calls()[0]!.metadata.get('traceparent')).toEqual([
    expect.stringContaining(sent[0]!.spanContext().spanId),
  ]);
  expect(await telemetry.count('grpc.client.attempt.started')).toBe(1);
});

it('leaves a call of the grpc-js client to @opentelemetry/instrumentation-grpc without the telemetry module, with a single span', async () => {
  instrumentation.enable();
  const telemetry = collectTelemetry();
  instrumentation.setTracerProvider(trace.getTracerProvider());
  const { client, server } = await instrumentedScene({}, {}, 'no module');
  await new Promise((resolve) => client.getClientByServiceName<any>('Echo').unary({}, resolve));
  const sent = () => telemetry.spans().filter(({ kind }) => kind === SpanKind.CLIENT);
  await waitFor(() => sent().length > 0);
  expect(sent().map(({ name }) => name)).toEqual(['grpc.testing.v1.Echo/Unary']);
  expect(server.calls()[0]!.metadata.get('traceparent')).toEqual([
    expect.stringContaining(sent()[0]!.spanContext().spanId),
  ]);
});

it('runs the callbacks of a stream in the context of its caller if only @opentelemetry/instrumentation-grpc traces it', async () => {
  instrumentation.enable();
  const telemetry = collectTelemetry();
  instrumentation.setTracerProvider(trace.getTracerProvider());
  const { echo } = await instrumentedScene({}, {}, 'no module');
  // Opens the connection outside the span.
  await firstValueFrom(echo.unary({}));
  const seen: unknown[] = [];
  const see = () => seen.push(trace.getActiveSpan()?.spanContext().traceId);
  let caller: string | undefined;
  await telemetry.within('caller', async () => {
    caller = trace.getActiveSpan()?.spanContext().traceId;
    await lastValueFrom(echo.serverStream({ number: 2 }, { onHeaders: see, onEnd: see }).pipe(tap(see)));
  });
  expect(seen).toEqual(Array(4).fill(caller));
});

/** Retries of UNAVAILABLE, in gRPC's service config. */
const RETRIED = retrying();
const busy = { status: 'UNAVAILABLE', details: 'busy' } as const;
const trailers = { 'x-trailer': 'served' };
const request = { text: 'x' };
const open = () => concat(of(request), NEVER);
type Scripts = NonNullable<ServerSettings['scripts']>;

/** A situation: the scripts of the server, a call, and how its caller ends it. */
type Situation = [
  title: string,
  scripts: Scripts | 'unreachable',
  call: (echo: EchoService) => Observable<unknown>,
  end?: 'unsubscribe',
];
const failed = { status: 'NOT_FOUND', details: 'no such thing', trailers } as const;
const endless = { messages: [{ number: 1 }], never: true } as const;
const ended = () => ({ deadline: Date.now() + 100 });
const withDeadline = (echo: EchoService, method: 'unary' | 'serverStream') =>
  (echo[method] as (...args: unknown[]) => Observable<unknown>)(request, new Metadata(), ended());

const SITUATIONS: Situation[] = [
  ['a unary call that succeeds', {}, (echo) => echo.unary(request)],
  ['a unary call that fails', { Unary: failed }, (echo) => echo.unary(request)],
  ['a unary call whose deadline passes', { Unary: { never: true } }, (echo) => withDeadline(echo, 'unary')],
  ['a unary call whose caller unsubscribes', { Unary: { never: true } }, (echo) => echo.unary(request), 'unsubscribe'],
  ['a unary call that is retried', { Unary: [busy, busy, { message: {} }] }, (echo) => echo.unary(request)],
  ['a unary call whose retries are exhausted', { Unary: busy }, (echo) => echo.unary(request)],
  ['a unary call to an unreachable server', 'unreachable', (echo) => echo.unary(request)],
  ['a client stream that succeeds', {}, (echo) => echo.clientStream(of(request, request))],
  ['a client stream that fails', { ClientStream: failed }, (echo) => echo.clientStream(of(request))],
  [
    'a client stream whose caller unsubscribes',
    { ClientStream: { never: true } },
    (echo) => echo.clientStream(open()),
    'unsubscribe',
  ],
  ['a server stream that succeeds', {}, (echo) => echo.serverStream({ number: 3 })],
  ['a server stream without messages', {}, (echo) => echo.serverStream({ number: 0 })],
  [
    'a server stream that fails after a message',
    { ServerStream: { messages: [{ number: 1 }], ...failed } },
    (echo) => echo.serverStream(request),
  ],
  ['a server stream whose deadline passes', { ServerStream: endless }, (echo) => withDeadline(echo, 'serverStream')],
  [
    'a server stream whose caller unsubscribes',
    { ServerStream: endless },
    (echo) => echo.serverStream(request),
    'unsubscribe',
  ],
  ['a server stream to an unreachable server', 'unreachable', (echo) => echo.serverStream(request)],
  ['a bidirectional stream that succeeds', {}, (echo) => echo.bidi(of(request, request))],
  ['a bidirectional stream that fails', { Bidi: failed }, (echo) => echo.bidi(of(request))],
  ['a bidirectional stream whose caller unsubscribes', { Bidi: endless }, (echo) => echo.bidi(open()), 'unsubscribe'],
];

/** Returns the parts of a span, without the texts that this library words in another way. */
const shown = ({ name, kind, status, attributes, events }: ReadableSpan) => {
  const { 'grpc.error_message': message, 'server.port': port, ...others } = attributes;
  return {
    name,
    kind,
    code: status.code,
    others,
    hasMessage: message !== undefined,
    hasPort: Number(port) > 0,
    events,
  };
};

it.each<Situation>(SITUATIONS)(
  "leaves %s to @opentelemetry/instrumentation-grpc without the telemetry module, with the span of Nest's plain client",
  async (_title: string, scripts: Situation[1], call: Situation[2], end?: Situation[3]) => {
    instrumentation.enable();
    const telemetry = collectTelemetry();
    instrumentation.setTracerProvider(trace.getTracerProvider());
    const options = scripts === 'unreachable' ? {} : { scripts: { ...ECHOES, ...scripts } };
    const servers = [await startServer(options), await startServer(options)] as const;
    if (scripts === 'unreachable') for (const server of servers) await server.stop('kill-connections');
    const settings = { outageGraceMs: 100, serviceConfig: RETRIED };
    const { echo } = await instrumentedClient(servers[0].url, settings, 'no module');
    const plain = await plainEcho(servers[1].url, RETRIED);
    const spansOf = async (service: EchoService, server: ScriptedGrpcServer) => {
      // The server in this process is also instrumented, and ends no span of a cancelled call.
      const notServed = () => telemetry.spans().filter(({ kind }) => kind !== SpanKind.SERVER);
      const before = notServed().length;
      await telemetry.within('caller', async () => {
        const settled = new Promise<void>((resolve) => {
          const subscription = call(service).subscribe({ error: () => resolve(), complete: () => resolve() });
          if (end === 'unsubscribe')
            void waitFor(() => server.counts().open === 1).then(() => {
              subscription.unsubscribe();
              resolve();
            });
        });
        await settled;
      });
      await waitFor(() => notServed().length === before + 2);
      const spans = notServed().slice(before);
      const caller = spans.find(({ name }) => name === 'caller')!.spanContext().spanId;
      const client = spans.filter(({ kind }) => kind === SpanKind.CLIENT);
      expect(client.map(({ parentSpanContext }) => parentSpanContext?.spanId)).toEqual([caller]);
      const { traceId, spanId } = client[0]!.spanContext();
      for (const { metadata } of server.calls())
        expect(metadata.get('traceparent')).toEqual([`00-${traceId}-${spanId}-01`]);
      return client.map(shown);
    };
    expect(await spansOf(echo, servers[0])).toEqual(await spansOf(plain, servers[1]));
  },
);
