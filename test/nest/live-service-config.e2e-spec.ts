import { Module, type INestApplicationContext } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import {
  GrpcClients,
  GrpcConfigurationError,
  ResilientGrpcModule,
  dnsServiceConfig,
  type GrpcClientSettings,
  type ServiceConfig,
} from 'nestjs-resilient-grpc';
import { ScriptedGrpcServer, captureLeaks, waitFor } from 'nestjs-resilient-grpc/testing';
import { BehaviorSubject, EMPTY, Subject, firstValueFrom, type Observable } from 'rxjs';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { retrying } from '../calls/service-configs.js';
import { NameServer } from '../support/name-server.js';
import type { OrdersClient } from './orders-client.js';
import { ORDERS_PROTO } from './places.js';

const leaks = captureLeaks();
let server: ScriptedGrpcServer;
let app: INestApplicationContext | undefined;

beforeAll(async () => {
  server = await ScriptedGrpcServer.start({ protoPath: ORDERS_PROTO });
  server.script('Create', { status: 'UNAVAILABLE' });
});
beforeEach(() => server.reset());
afterEach(async () => {
  await app?.close();
  app = undefined;
});
afterAll(async () => {
  await server.close();
  await leaks.settled();
});

async function start(
  serviceConfig: Observable<ServiceConfig>,
  settings: Partial<GrpcClientSettings> = {},
): Promise<OrdersClient> {
  const client = { name: 'orders', protoPath: ORDERS_PROTO, url: server.url, serviceConfig, ...settings };
  @Module({ imports: [ResilientGrpcModule.forFeature([client])] })
  class AppModule {}
  app = await NestFactory.createApplicationContext(AppModule, { logger: false, abortOnError: false });
  return app.get(GrpcClients).get('orders').getService<OrdersClient>('Orders');
}

async function attemptsOf(orders: OrdersClient): Promise<number> {
  server.reset();
  await firstValueFrom(orders.create({ requestId: '1', item: 'tea' })).catch(() => undefined);
  return server.counts('Create').calls;
}

describe('service config from an Observable', () => {
  it('delays startup until the first service config arrives, and applies each update to calls that start after it', async () => {
    const source = new Subject<ServiceConfig>();
    let hasStarted = false;
    const starting = start(source).finally(() => (hasStarted = true));
    await waitFor(() => source.observed);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(hasStarted).toBe(false);
    source.next(retrying({ maxAttempts: 2 }));
    const orders = await starting;
    expect(await attemptsOf(orders)).toBe(2);
    source.next(retrying({ maxAttempts: 3 }));
    expect(await attemptsOf(orders)).toBe(3);
    source.next({});
    expect(await attemptsOf(orders)).toBe(1);
  });

  it('lists the hedging delay of a method in snapshot() only while the service config declares the method safe to repeat', async () => {
    const source = new BehaviorSubject<ServiceConfig>(retrying({ maxAttempts: 2 }));
    const orders = await start(source, { methods: { Create: { hedge: 'p95' } } });
    const hedged = () =>
      app!
        .get(GrpcClients)
        .get('orders')
        .snapshot()
        .hedgingDelays.map(({ path }) => path);
    await attemptsOf(orders);
    const path = expect.stringMatching(/\/Create$/);
    expect(hedged()).toEqual([path]);
    source.next({});
    expect(hedged()).toEqual([]);
    source.next(retrying({ maxAttempts: 2 }));
    expect(hedged()).toEqual([path]);
  });

  it('keeps the previous service config if the next one is invalid or the source fails', async () => {
    const source = new BehaviorSubject<ServiceConfig>(retrying({ maxAttempts: 2 }));
    const orders = await start(source);
    source.next(retrying({ maxAttempts: 1 }));
    expect(await attemptsOf(orders)).toBe(2);
    source.error(new Error('the configuration server is unreachable'));
    expect(await attemptsOf(orders)).toBe(2);
  });

  it.each([
    ['invalid JSON', 'grpc_config=[{]'],
    ['an invalid choice', 'grpc_config=[{"percentage":"all","serviceConfig":{}}]'],
    ['an invalid service config', 'grpc_config=[{"serviceConfig":{"methodConfig":[{"name":[{}],"timeout":"soon"}]}}]'],
  ])('ignores a DNS record with %s at startup, and applies the corrected record later', async (_what, text) => {
    const names = await NameServer.start();
    onTestFinished(() => {
      names.close();
    });
    names.hasRecords = true;
    names.text = text;
    const source = dnsServiceConfig({ refreshMs: 1_000 });
    const orders = await start(source, { url: `dns://${names.url}/${server.url.replace('127.0.0.1', 'localhost')}` });
    expect(await attemptsOf(orders)).toBe(1);
    names.text = `grpc_config=${JSON.stringify([{ serviceConfig: retrying({ maxAttempts: 2 }) }])}`;
    await waitFor(async () => (await attemptsOf(orders)) === 2, { timeoutMs: 30_000 });
  });

  it('unsubscribes from the service config source when the application closes', async () => {
    const source = new BehaviorSubject<ServiceConfig>({});
    await start(source);
    expect(source.observed).toBe(true);
    await app?.close();
    app = undefined;
    expect(source.observed).toBe(false);
  });

  it.each([
    [
      'is invalid',
      new BehaviorSubject(retrying({ maxAttempts: 1 })),
      'clients.orders.serviceConfig.methodConfig[0].retryPolicy.maxAttempts',
    ],
    ['never arrives because the Observable completes', EMPTY, 'clients.orders.serviceConfig'],
  ])('fails at startup if the first service config %s', async (_, source, path) => {
    const error: unknown = await start(source).catch((reason: unknown) => reason);
    if (!(error instanceof GrpcConfigurationError)) throw error;
    expect(error.problems.map((problem) => problem.path)).toEqual([path]);
  });
});
