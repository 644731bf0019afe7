import { Inject, Injectable, Module, type OnModuleInit } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { context, propagation, trace } from '@opentelemetry/api';
import { ResilientGrpcModule, getGrpcClientToken, type ResilientGrpcClient } from 'nestjs-resilient-grpc';
import { ResilientGrpcTelemetryModule } from 'nestjs-resilient-grpc/telemetry';
import { captureLeaks, waitFor } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom } from 'rxjs';
import { afterAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { EACH_METHOD, callOnce, failureOf, startServer, type EchoService } from '../calls/support.js';
import { CapturedLog } from '../support/captured-log.js';
import { ECHO_PROTO } from '../testing/echo-client.js';
import { collectTelemetry } from './collected-telemetry.js';
import { toldClient, toldScene } from './told-client.js';

const leaks = captureLeaks();
afterAll(() => leaks.settled());

/** What is on the way of a call for those who look on. */
function onTheWay(client: ResilientGrpcClient) {
  const { telemetry, events } = Reflect.get(client, 'context') as {
    readonly telemetry?: unknown;
    readonly events: { readonly everyCallWanted: boolean };
  };
  return { telemetry, everyCallWanted: events.everyCallWanted };
}

const NOTHING = { telemetry: undefined, everyCallWanted: false };

describe('a client that nobody looks at', () => {
  it.each([
    ['without the module', 'no module'],
    ['with the module, where no SDK is registered', undefined],
  ] as const)('has nothing of telemetry on the way of its calls: %s', async (_how, options) => {
    const { client, echo, server } = await toldScene({}, {}, options);
    expect(onTheWay(client)).toEqual(NOTHING);
    const asked = [vi.spyOn(trace, 'getTracer'), vi.spyOn(propagation, 'inject'), vi.spyOn(context, 'with')];
    onTestFinished(() => {
      for (const spy of asked) spy.mockRestore();
    });
    for (const method of EACH_METHOD) await firstValueFrom(callOnce(echo, method), { defaultValue: undefined });
    server.script('Unary', { status: 'NOT_FOUND' });
    await failureOf(echo.unary({}));
    for (const spy of asked) expect(spy).not.toHaveBeenCalled();
    expect(server.calls().map(({ metadata }) => metadata.get('traceparent'))).toEqual(server.calls().map(() => []));
    expect(onTheWay(client)).toEqual(NOTHING);
  });

  it('has nothing of it with both parts switched off', async () => {
    collectTelemetry();
    const { client } = await toldScene({}, {}, { metrics: false, traces: false });
    expect(onTheWay(client)).toEqual(NOTHING);
  });

  it('has nothing of it when those that were traced are closed, as in the next test of a file', async () => {
    collectTelemetry();
    const traced = await toldScene();
    await traced.close();
    const { echo } = await toldScene({}, {}, 'no module');
    const asked = vi.spyOn(context, 'active');
    onTestFinished(() => {
      asked.mockRestore();
    });
    await firstValueFrom(echo.unary({}));
    expect(asked).not.toHaveBeenCalled();
  });

  it('hears of no event of every call where an SDK is registered either: it is told by itself', async () => {
    collectTelemetry();
    const { client } = await toldScene();
    expect(onTheWay(client)).toEqual({ telemetry: expect.anything(), everyCallWanted: false });
  });
});

describe('the module of telemetry', () => {
  it('makes metrics and traces where it is imported as it is', async () => {
    const told = collectTelemetry();
    const { echo } = await toldScene({}, {}, 'no options');
    await firstValueFrom(echo.unary({}));
    expect(await told.count('grpc.client.attempt.started')).toBe(1);
    expect(told.spans()).toHaveLength(2);
  });

  it.each([
    ['no SDK is registered', undefined, false, 1],
    ['no SDK is registered', 'no options', false, 1],
    ['no SDK is registered, and nothing is to be made', { metrics: false, traces: false }, false, 0],
    ['an SDK is registered', undefined, true, 0],
    ['an SDK is registered for a part that is left out', { metrics: false }, true, 0],
  ] as const)('tells once at the start whether nothing is collected: %s, %o', async (_, options, isSdk, lines) => {
    if (isSdk) collectTelemetry();
    const log = new CapturedLog();
    await toldClient((await startServer()).url, {}, options, log);
    const told = log.lines.filter((line) => line.text.includes('no OpenTelemetry SDK is registered'));
    expect(told).toHaveLength(lines);
  });
});

describe('a part of telemetry', () => {
  it.each([
    [{ traces: false }, 1, 0],
    [{ metrics: false }, 0, 2],
  ])('is there without the other: %o', async (options, calls, spans) => {
    const told = collectTelemetry();
    const { echo, server } = await toldScene({}, {}, options);
    await firstValueFrom(echo.unary({}));
    expect(await told.count('grpc.client.attempt.started')).toBe(calls);
    expect(told.spans()).toHaveLength(spans);
    expect(server.calls()[0]!.metadata.get('traceparent')).toHaveLength(spans === 0 ? 0 : 1);
  });

  it('sends on what is active where a propagator is registered and nobody makes spans', async () => {
    const told = collectTelemetry();
    trace.disable();
    const { echo, server } = await toldScene();
    const mine = { traceId: '0af7651916cd43dd8448eb211c80319c', spanId: 'b7ad6b7169203331', traceFlags: 1 };
    await told.inContextOf(mine, () => firstValueFrom(echo.unary({})));
    expect(server.calls()[0]!.metadata.get('traceparent')).toEqual([`00-${mine.traceId}-${mine.spanId}-01`]);
    expect(told.spans()).toEqual([]);
  });

  it('sends nothing on where no propagator is registered', async () => {
    const told = collectTelemetry();
    propagation.disable();
    const { echo, server } = await toldScene();
    await firstValueFrom(echo.unary({}));
    expect(server.calls()[0]!.metadata.get('traceparent')).toEqual([]);
    expect(told.spans()).toHaveLength(2);
  });
});

describe('an SDK', () => {
  it('is found that a module registers while the application starts', async () => {
    const server = await startServer();
    const sdk: { told?: ReturnType<typeof collectTelemetry> } = {};
    @Injectable()
    class Sdk implements OnModuleInit {
      constructor(@Inject(getGrpcClientToken('echo')) private readonly client: ResilientGrpcClient) {}
      async onModuleInit(): Promise<void> {
        await this.client.waitForReady();
        sdk.told = collectTelemetry();
      }
    }
    @Module({
      imports: [
        ResilientGrpcTelemetryModule.forRoot(),
        ResilientGrpcModule.forFeature([{ name: 'echo', url: server.url, protoPath: ECHO_PROTO, connection: 'warm' }]),
      ],
      providers: [Sdk],
    })
    class AppModule {}
    const app = await NestFactory.createApplicationContext(AppModule, { logger: false });
    onTestFinished(() => app.close());
    const client = app.get<ResilientGrpcClient>(getGrpcClientToken('echo'));
    await firstValueFrom(client.getService<EchoService>('Echo').unary({}));
    expect(await sdk.told!.count('grpc.client.attempt.started')).toBe(1);
    expect(sdk.told!.spans()).toHaveLength(2);
    // Also what was connected before.
    expect(await sdk.told!.count('grpc.subchannel.open_connections')).toBe(1);
  });

  it('counts a connection that was open before', async () => {
    const server = await startServer();
    const sdk: { told?: ReturnType<typeof collectTelemetry> } = {};
    @Injectable()
    class Sdk implements OnModuleInit {
      constructor(@Inject(getGrpcClientToken('echo')) private readonly client: ResilientGrpcClient) {}
      async onModuleInit(): Promise<void> {
        await this.client.waitForReady();
        sdk.told = collectTelemetry();
      }
    }
    const client = { name: 'echo', url: server.url, protoPath: ECHO_PROTO };
    @Module({
      imports: [ResilientGrpcTelemetryModule.forRoot(), ResilientGrpcModule.forFeature([client])],
      providers: [Sdk],
    })
    class AppModule {}
    const app = await NestFactory.createApplicationContext(AppModule, { logger: false });
    expect(await sdk.told!.count('grpc.subchannel.open_connections')).toBe(1);
    await app.close();
    await waitFor(() => server.connections.open === 0);
    await waitFor(async () => (await sdk.told!.count('grpc.subchannel.open_connections')) < 1);
    expect(await sdk.told!.count('grpc.subchannel.open_connections')).toBe(0);
  });

  it('is not looked for after the start', async () => {
    const { client, echo } = await toldScene();
    const told = collectTelemetry();
    await firstValueFrom(echo.unary({}));
    expect(onTheWay(client)).toEqual(NOTHING);
    expect(told.spans()).toEqual([]);
  });
});
