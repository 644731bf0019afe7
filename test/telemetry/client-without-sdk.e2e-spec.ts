import { Inject, Injectable, Module, type OnModuleInit } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { context, metrics, propagation, trace, type TracerProvider } from '@opentelemetry/api';
import { W3CTraceContextPropagator } from '@opentelemetry/core';
import {
  ResilientGrpcModule,
  getGrpcClientToken,
  type GrpcClientSettings,
  type ResilientGrpcClient,
} from 'nestjs-resilient-grpc';
import { ResilientGrpcTelemetryModule } from 'nestjs-resilient-grpc/telemetry';
import { captureLeaks, waitFor } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom } from 'rxjs';
import { afterAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { EACH_METHOD, callOnce, failureOf, startServer, type EchoService } from '../calls/support.js';
import { CapturedLog } from '../support/captured-log.js';
import { ECHO_PROTO } from '../testing/echo-client.js';
import { collectTelemetry } from './collected-telemetry.js';
import { instrumentedClient, instrumentedScene } from './instrumented-client.js';

const leaks = captureLeaks();
afterAll(() => leaks.settled());

/** Starts an application with the client 'echo'; `onInit` runs while the application starts. */
async function startApp(settings: GrpcClientSettings, onInit: (client: ResilientGrpcClient) => Promise<void> | void) {
  @Injectable()
  class Sdk implements OnModuleInit {
    constructor(@Inject(getGrpcClientToken('echo')) private readonly client: ResilientGrpcClient) {}
    async onModuleInit(): Promise<void> {
      await onInit(this.client);
    }
  }
  @Module({
    imports: [
      ResilientGrpcTelemetryModule.forRoot(),
      ResilientGrpcModule.forRoot({ drain: { timeoutMs: 300 } }),
      ResilientGrpcModule.forFeature([{ name: 'echo', protoPath: ECHO_PROTO, ...settings }]),
    ],
    providers: [Sdk],
  })
  class AppModule {}
  const log = new CapturedLog();
  const app = await NestFactory.createApplicationContext(AppModule, { logger: log, abortOnError: false });
  let closing: Promise<void> | undefined;
  const close = () => (closing ??= app.close());
  onTestFinished(close);
  return { client: app.get<ResilientGrpcClient>(getGrpcClientToken('echo')), close, log };
}

/** Removes the meter provider; returns a function that registers it again. */
function unregisterMeters(): () => void {
  const provider = metrics.getMeterProvider();
  metrics.disable();
  return () => metrics.setGlobalMeterProvider(provider);
}

/** Removes the tracer provider and the propagator; returns a function that registers them again. */
function unregisterTracers(): () => void {
  const provider = (trace.getTracerProvider() as { getDelegate?: () => TracerProvider }).getDelegate!();
  trace.disable();
  propagation.disable();
  return () => {
    trace.setGlobalTracerProvider(provider);
    propagation.setGlobalPropagator(new W3CTraceContextPropagator());
  };
}

describe('unobserved client', () => {
  it.each([
    ['without the telemetry module', 'no module'],
    ['with the telemetry module but no registered SDK', undefined],
  ] as const)('does no telemetry work for a call %s', async (_how, options) => {
    const { echo, server } = await instrumentedScene({}, {}, options);
    const spies = [vi.spyOn(trace, 'getTracer'), vi.spyOn(propagation, 'inject'), vi.spyOn(context, 'with')];
    onTestFinished(() => {
      for (const spy of spies) spy.mockRestore();
    });
    for (const method of EACH_METHOD) await firstValueFrom(callOnce(echo, method), { defaultValue: undefined });
    server.script('Unary', { status: 'NOT_FOUND' });
    await failureOf(echo.unary({}));
    for (const spy of spies) expect(spy).not.toHaveBeenCalled();
    expect(server.calls().map(({ metadata }) => metadata.get('traceparent'))).toEqual(server.calls().map(() => []));
  });

  it('does not read the active context for an untraced client after all traced clients have closed', async () => {
    collectTelemetry();
    const traced = await instrumentedScene();
    await traced.close();
    const { echo } = await instrumentedScene({}, {}, 'no module');
    const active = vi.spyOn(context, 'active');
    onTestFinished(() => {
      active.mockRestore();
    });
    await firstValueFrom(echo.unary({}));
    expect(active).not.toHaveBeenCalled();
  });
});

describe('ResilientGrpcTelemetryModule', () => {
  it('records metrics and traces if the telemetry module is imported without forRoot()', async () => {
    const telemetry = collectTelemetry();
    const { echo } = await instrumentedScene({}, {}, 'no options');
    await firstValueFrom(echo.unary({}));
    expect(await telemetry.count('grpc.client.attempt.started')).toBe(1);
    expect(telemetry.spans()).toHaveLength(2);
  });

  it.each([
    ['no SDK is registered', undefined, false, 1],
    ['no SDK is registered', 'no options', false, 1],
    ['no SDK is registered and both parts are disabled', { metrics: false, traces: false }, false, 0],
    ['an SDK is registered', undefined, true, 0],
    ['an SDK is registered and metrics are disabled', { metrics: false }, true, 0],
  ] as const)(
    'logs a missing SDK at startup only if metrics or traces are enabled: %s, %o',
    async (_, options, isSdk, lines) => {
      if (isSdk) collectTelemetry();
      const log = new CapturedLog();
      await instrumentedClient((await startServer()).url, {}, options, log);
      const warnings = log.lines.filter((line) => line.text.includes('no OpenTelemetry SDK is registered'));
      expect(warnings).toHaveLength(lines);
    },
  );
});

describe('another @opentelemetry/api', () => {
  const API = Symbol.for('opentelemetry.js.api.1');

  it('names the version of @opentelemetry/api to install if the registered SDK uses an older one', async () => {
    const own: unknown = Reflect.get(globalThis, API);
    Reflect.set(globalThis, API, { version: '1.0.3', trace: {}, metrics: {} });
    onTestFinished(() => void Reflect.set(globalThis, API, own));
    const log = new CapturedLog();
    await instrumentedClient((await startServer()).url, {}, undefined, log);
    expect(log.lines.map(({ text }) => text).filter((text) => text.includes('OpenTelemetry'))).toEqual([
      'an OpenTelemetry SDK is registered with @opentelemetry/api 1.0.3, but the copy that this library imports does not see it, so no metrics and no traces are collected; install @opentelemetry/api@1.0.3',
    ]);
  });
});

describe('metrics and traces', () => {
  it.each([
    [{ traces: { client: false } }, 1, 0],
    [{ traces: { server: false } }, 1, 2],
    [{ traces: false }, 1, 0],
    [{ metrics: false }, 0, 2],
  ])('enables the metrics and the traces of a client separately: %o', async (options, calls, spans) => {
    const telemetry = collectTelemetry();
    const { echo, server } = await instrumentedScene({}, {}, options);
    await firstValueFrom(echo.unary({}));
    expect(await telemetry.count('grpc.client.attempt.started')).toBe(calls);
    expect(telemetry.spans()).toHaveLength(spans);
    expect(server.calls()[0]!.metadata.get('traceparent')).toHaveLength(spans === 0 ? 0 : 1);
  });

  it('propagates the active context if a propagator but no tracer provider is registered', async () => {
    const telemetry = collectTelemetry();
    trace.disable();
    const { echo, server } = await instrumentedScene();
    const active = { traceId: '0af7651916cd43dd8448eb211c80319c', spanId: 'b7ad6b7169203331', traceFlags: 1 };
    await telemetry.inContextOf(active, () => firstValueFrom(echo.unary({})));
    expect(server.calls()[0]!.metadata.get('traceparent')).toEqual([`00-${active.traceId}-${active.spanId}-01`]);
    expect(telemetry.spans()).toEqual([]);
  });

  it('sends no traceparent but creates spans if no propagator is registered', async () => {
    const telemetry = collectTelemetry();
    propagation.disable();
    const { echo, server } = await instrumentedScene();
    await firstValueFrom(echo.unary({}));
    expect(server.calls()[0]!.metadata.get('traceparent')).toEqual([]);
    expect(telemetry.spans()).toHaveLength(2);
  });
});

describe('OpenTelemetry SDK', () => {
  it('sends metrics and spans to an SDK that a module registers while the application starts, and counts a connection that was open before until it closes', async () => {
    const server = await startServer();
    const sdk: { telemetry?: ReturnType<typeof collectTelemetry> } = {};
    const { client, close } = await startApp({ url: server.url, connections: { warm: true } }, async (pending) => {
      await pending.waitForReady();
      sdk.telemetry = collectTelemetry();
    });
    await firstValueFrom(client.getService<EchoService>('Echo').unary({}));
    expect(await sdk.telemetry!.count('grpc.client.attempt.started')).toBe(1);
    expect(sdk.telemetry!.spans()).toHaveLength(2);
    // Connections opened before the registration also count.
    expect(await sdk.telemetry!.count('grpc.subchannel.open_connections')).toBe(1);
    await close();
    await waitFor(() => server.connections.open === 0);
    await waitFor(async () => (await sdk.telemetry!.count('grpc.subchannel.open_connections')) < 1);
    expect(await sdk.telemetry!.count('grpc.subchannel.open_connections')).toBe(0);
  });

  it('counts the start and the end of an outage that began before the SDK was registered', async () => {
    const server = await startServer();
    await server.stop('kill-connections');
    const sdk: { telemetry?: ReturnType<typeof collectTelemetry> } = {};
    const { client, close } = await startApp(
      { url: server.url, connections: { warm: true }, outageGraceMs: 60_000 },
      async (pending) => {
        await waitFor(() => pending.connectivity.outage !== undefined);
        sdk.telemetry = collectTelemetry();
      },
    );
    const counts = async () => [
      await sdk.telemetry!.count('resilient_grpc.client.outages'),
      (await sdk.telemetry!.recorded('resilient_grpc.client.outage.duration'))?.count ?? 0,
    ];
    expect(await counts()).toEqual([1, 0]);
    await server.restart();
    await firstValueFrom(client.getService<EchoService>('Echo').unary({}));
    await waitFor(() => client.connectivity.outage === undefined);
    expect(await counts()).toEqual([1, 1]);
    await server.stop('kill-connections');
    await waitFor(() => client.connectivity.outage !== undefined);
    expect(await counts()).toEqual([2, 1]);
    await close();
    expect(await counts()).toEqual([2, 2]);
  });

  it.each(['metrics', 'traces'] as const)(
    'sends %s to a provider that a module registers while the application starts, if only the other provider was registered before',
    async (late) => {
      const telemetry = collectTelemetry();
      const register = late === 'metrics' ? unregisterMeters() : unregisterTracers();
      const server = await startServer();
      server.script('ServerStream', { messages: [{ number: 1 }], never: true });
      const { client, close, log } = await startApp({ url: server.url }, async (pending) => {
        const echo = pending.getService<EchoService>('Echo');
        // This stream begins before the provider is registered, and ends after the registration.
        const reader = echo.serverStream({}).subscribe({ error: () => undefined });
        onTestFinished(() => {
          reader.unsubscribe();
        });
        await waitFor(() => server.calls('ServerStream').length === 1);
        register();
      });
      await firstValueFrom(client.getService<EchoService>('Echo').unary({}));
      expect(await telemetry.count('grpc.client.attempt.started', { 'grpc.method': 'testing.v1.Echo/Unary' })).toBe(1);
      expect(await telemetry.span('Sent.testing.v1.Echo.Unary')).toBeDefined();
      expect(server.calls('Unary')[0]!.metadata.get('traceparent')).toHaveLength(1);
      expect(await telemetry.count('grpc.subchannel.open_connections')).toBe(1);
      await close();
      expect(await telemetry.count('resilient_grpc.client.streams')).toBe(0);
      expect(await telemetry.count('grpc.subchannel.disconnections')).toBe(1);
      expect(log.lines.map(({ text }) => text).filter((text) => text.includes('OpenTelemetry'))).toEqual([]);
    },
  );

  it.each([
    [
      'metrics',
      'no OpenTelemetry SDK is registered for metrics, so no metrics are collected; register one before the application is created, or switch them off in ResilientGrpcTelemetryModule.forRoot()',
    ],
    [
      'traces',
      'no OpenTelemetry SDK is registered for traces, so no traces are collected; register one before the application is created, or switch them off in ResilientGrpcTelemetryModule.forRoot()',
    ],
  ] as const)('logs at startup that only %s have no provider', async (missing, line) => {
    collectTelemetry();
    if (missing === 'metrics') unregisterMeters();
    else unregisterTracers();
    const { log } = await startApp({ url: (await startServer()).url }, () => undefined);
    expect(log.lines.filter(({ text }) => text.includes('OpenTelemetry'))).toEqual([
      { level: 'log', context: 'ResilientGrpc', text: line },
    ]);
  });

  it('counts no outage of a client that closed before the application started', async () => {
    const sdk: { telemetry?: ReturnType<typeof collectTelemetry> } = {};
    await startApp({ url: '127.0.0.1:1', connections: { warm: true } }, async (pending) => {
      await waitFor(() => pending.connectivity.outage !== undefined);
      await pending.close();
      sdk.telemetry = collectTelemetry();
    });
    expect(await sdk.telemetry!.count('resilient_grpc.client.outages')).toBe(0);
  });

  it('sends no telemetry to an SDK that is registered after the application has started', async () => {
    const { echo } = await instrumentedScene();
    const telemetry = collectTelemetry();
    await firstValueFrom(echo.unary({}));
    expect(telemetry.spans()).toEqual([]);
  });
});
