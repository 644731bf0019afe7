import { Controller, Get, Injectable, Module, type INestApplication, type OnModuleInit } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { HealthCheck, HealthCheckService, TerminusModule } from '@nestjs/terminus';
import {
  GrpcClients,
  ResilientGrpcModule,
  getGrpcServiceToken,
  type DrainOptions,
  type Resilient,
} from 'nestjs-resilient-grpc';
import {
  GrpcChannelHealthIndicator,
  GrpcReadinessHealthIndicator,
  ResilientGrpcHealthModule,
} from 'nestjs-resilient-grpc/health';
import { ResilientGrpcServer, ResilientGrpcServerModule } from 'nestjs-resilient-grpc/server';
import { captureLeaks } from 'nestjs-resilient-grpc/testing';
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import type { OrdersClient } from '../nest/orders-client.js';
import { ORDERS_PROTO } from '../nest/places.js';
import { ordersModule, ordersOf, ordersOptions, ownUrl } from '../server/served-orders.js';
import { holdTimers, releaseTimers } from '../server/support/held-timers.js';
import { outcomeOf, startScripted } from './support.js';

beforeEach(({ onTestFinished }) => {
  const leaks = captureLeaks();
  onTestFinished(() => leaks.settled());
});

@Controller('health')
class HealthController {
  constructor(
    private readonly health: HealthCheckService,
    private readonly readiness: GrpcReadinessHealthIndicator,
    private readonly channels: GrpcChannelHealthIndicator,
  ) {}

  @Get('live') @HealthCheck() live() {
    return this.health.check([]);
  }
  @Get('ready') @HealthCheck() ready() {
    return this.health.check([() => this.readiness.check()]);
  }
  @Get('dependencies') @HealthCheck() dependencies() {
    return this.health.check([() => this.channels.checkAll()]);
  }
}

/** Readiness of the process, recorded while its modules were being initialized. */
const earlyReports: unknown[] = [];
@Injectable()
class EarlyCheck implements OnModuleInit {
  constructor(private readonly readiness: GrpcReadinessHealthIndicator) {}

  onModuleInit(): void {
    earlyReports.push(this.readiness.check());
  }
}

/**
 * Closes the application as SIGTERM does, because Terminus delays only a `close` that receives 'SIGTERM'. The type of `close` declares no
 * argument.
 */
const closeBySignal = (app: INestApplication) => (app as { close(signal?: string): Promise<void> }).close('SIGTERM');

type Imports = NonNullable<NonNullable<Parameters<typeof Module>[0]>['imports']>;

async function createHealthApp(imports: Imports, terminus = { logger: false as const }) {
  @Module({
    imports: [...imports, ResilientGrpcHealthModule, TerminusModule.forRoot(terminus)],
    controllers: [HealthController],
    providers: [EarlyCheck],
  })
  class AppModule {}
  const app = await NestFactory.create(AppModule, { logger: false, forceCloseConnections: true });
  onTestFinished(() => app.close());
  return app;
}

async function listen(app: INestApplication) {
  await app.listen(0, '127.0.0.1');
  const http = await app.getUrl();
  return async (route: string): Promise<{ readonly code: number; readonly report: any }> => {
    const answer = await fetch(`${http}/health/${route}`, { headers: { connection: 'close' } });
    return { code: answer.status, report: await answer.json() };
  };
}

async function startUpstream(drain: DrainOptions) {
  const server = await startScripted(onTestFinished, undefined);
  const client = { name: 'orders', protoPath: ORDERS_PROTO, url: server.url };
  return { server, imports: [ResilientGrpcModule.forRoot({ drain }), ResilientGrpcModule.forFeature([client])] };
}

describe('GrpcReadinessHealthIndicator', () => {
  it('reports the readiness of the process as down during startup and then as up, even if the upstream is down', async () => {
    earlyReports.length = 0;
    const { server, imports } = await startUpstream({});
    await server.stop('kill-connections');
    const app = await createHealthApp(imports);
    const fetchHealth = await listen(app);
    expect(earlyReports).toEqual([{ process: { status: 'down', state: 'starting' } }]);
    expect(await fetchHealth('ready')).toMatchObject({
      code: 200,
      report: { details: { process: { status: 'up', state: 'ready' } } },
    });
    expect((await fetchHealth('live')).code).toBe(200);
  });

  it('reports the readiness of a process without clients as up', async () => {
    const fetchHealth = await listen(await createHealthApp([]));
    expect((await fetchHealth('ready')).code).toBe(200);
    expect((await fetchHealth('dependencies')).code).toBe(200);
  });

  it('reports the readiness of the process as down when the readiness delay begins, while calls are still accepted', async () => {
    const { imports } = await startUpstream({ readinessDelayMs: 5_000, timeoutMs: 60_000 });
    const app = await createHealthApp(imports);
    const fetchHealth = await listen(app);
    const orders = app.get<Resilient<OrdersClient>>(getGrpcServiceToken('orders', 'Orders'), { strict: false });
    const readiness = app.get(GrpcReadinessHealthIndicator);
    const channels = app.get(GrpcChannelHealthIndicator);
    expect((await outcomeOf(orders.get({ id: '1' }))).error).toBeUndefined();

    const { advance, until } = holdTimers();
    let closed = false;
    const closing = app.close().then(() => (closed = true));
    await until(() => readiness.check().process.status === 'down');
    expect(await fetchHealth('ready')).toMatchObject({
      code: 503,
      report: { status: 'shutting_down', details: { process: { status: 'down', state: 'draining' } } },
    });
    expect((await channels.check('orders')).orders).toMatchObject({ status: 'down', message: 'draining' });
    for (let served = 0; served < 5; served += 1) {
      await advance(served === 4 ? 999 : 1_000);
      expect((await outcomeOf(orders.get({ id: '1' }))).error).toBeUndefined();
    }
    expect(closed).toBe(false);
    await advance(1);
    await until(() => closed);
    await closing;
    expect((await outcomeOf(orders.get({ id: '1' }))).error?.codeName).toBe('UNAVAILABLE');
    expect(readiness.check().process).toEqual({ status: 'down', state: 'draining' });
  });

  it('reports the readiness of the process as down when only its gRPC server drains', async () => {
    const url = ownUrl();
    const drain = { readinessDelayMs: 5_000, timeoutMs: 60_000 };
    const app = await createHealthApp([ordersModule(ResilientGrpcServerModule.forRoot(ordersOptions(url, { drain })))]);
    const microservice = app.connectMicroservice({ strategy: app.get(ResilientGrpcServer, { strict: false }) });
    await app.startAllMicroservices();
    const fetchHealth = await listen(app);
    const orders = ordersOf(url);
    expect((await fetchHealth('ready')).code).toBe(200);
    expect(await orders.unary('get', { id: '7' })).toMatchObject({ id: '7' });

    const { advance, until } = holdTimers();
    let closed = false;
    const closing = microservice.close().then(() => (closed = true));
    const down = await fetchHealth('ready');
    // The server still accepts calls.
    expect(await orders.unary('get', { id: '7' })).toMatchObject({ id: '7' });
    expect(closed).toBe(false);
    expect(down).toMatchObject({ code: 503, report: { details: { process: { status: 'down', state: 'draining' } } } });
    expect((await fetchHealth('live')).code).toBe(200);
    await advance(5_000);
    await until(() => closed);
    await closing;
    expect((await fetchHealth('ready')).code).toBe(503);
  });
});

/** Starts an application with `imports`, and its server if `listens` is true. */
async function startApp(imports: Imports, listens: boolean): Promise<INestApplication> {
  @Module({ imports })
  class AppModule {}
  const app = await NestFactory.create(AppModule, { logger: false });
  onTestFinished(() => app.close());
  if (listens) {
    app.connectMicroservice({ strategy: app.get(ResilientGrpcServer, { strict: false }) });
    await app.startAllMicroservices();
  } else {
    await app.init();
  }
  return app;
}

/** Starts an application, and then its shutdown on fake timers. */
async function startShutdown(imports: Imports, listens = false) {
  const app = await startApp(imports, listens);
  const timers = holdTimers();
  let over = false;
  void closeBySignal(app).then(() => (over = true));
  // By the next turn, all shutdown steps before the first delay have ended.
  await new Promise((resolve) => setImmediate(resolve));
  return { ...timers, isOver: () => over };
}

const DELAY_MS = 5_000;
const clientDelay = { readinessDelayMs: DELAY_MS, timeoutMs: 60_000 };
const serverOf = (drain: DrainOptions) => ResilientGrpcServerModule.forRoot(ordersOptions(ownUrl(), { drain }));

describe('readinessDelayMs of clients', () => {
  it('runs the readiness delay of clients concurrently with that of a server', async () => {
    const { imports } = await startUpstream(clientDelay);
    for (const all of [
      [serverOf(clientDelay), ...imports],
      [...imports, serverOf(clientDelay)],
    ]) {
      const { advance, until, isOver } = await startShutdown(all, true);
      await advance(DELAY_MS - 1);
      expect(isOver()).toBe(false);
      await advance(1);
      await until(isOver);
      releaseTimers();
    }
  });
});

describe('gracefulShutdownTimeoutMs of Terminus', () => {
  const terminus = (ms: number) => TerminusModule.forRoot({ logger: false, gracefulShutdownTimeoutMs: ms });

  it('runs the delay of Terminus concurrently with the readiness delay of clients, regardless of the import order', async () => {
    const { imports } = await startUpstream(clientDelay);
    for (const all of [
      [terminus(DELAY_MS), ...imports],
      [...imports, terminus(DELAY_MS)],
    ]) {
      const { advance, until, isOver } = await startShutdown(all);
      await advance(DELAY_MS - 1);
      expect(isOver()).toBe(false);
      await advance(1);
      await until(isOver);
      releaseTimers();
    }
  });

  it('runs the delay of Terminus concurrently with the readiness delay of a server that is imported before TerminusModule', async () => {
    const { advance, until, isOver } = await startShutdown([serverOf(clientDelay), terminus(DELAY_MS)], true);
    await advance(DELAY_MS);
    await until(isOver);
  });

  it('runs the delay of Terminus in addition to the readiness delay of a server that is imported after TerminusModule', async () => {
    const { advance, until, isOver } = await startShutdown([terminus(DELAY_MS), serverOf(clientDelay)], true);
    await advance(DELAY_MS);
    await new Promise((resolve) => setImmediate(resolve));
    await advance(DELAY_MS - 1);
    expect(isOver()).toBe(false);
    await advance(1);
    await until(isOver);
  });

  it('counts the delay of Terminus toward the drain timeout of clients, so that clients close before a longer delay ends', async () => {
    const { imports } = await startUpstream({ timeoutMs: 2_000 });
    @Module({ imports: [...imports, terminus(DELAY_MS)] })
    class AppModule {}
    const app = await NestFactory.create(AppModule, { logger: false });
    await app.listen(0, '127.0.0.1');
    const orders = app.get<Resilient<OrdersClient>>(getGrpcServiceToken('orders', 'Orders'), { strict: false });
    const { advance, until } = holdTimers();
    let over = false;
    const closed = closeBySignal(app).then(() => (over = true));
    await advance(1_999);
    expect((await outcomeOf(orders.get({ id: '1' }))).error).toBeUndefined();
    await advance(1);
    const client = app.get(GrpcClients, { strict: false }).get('orders');
    await until(() => client.connectivity.state === 'SHUTDOWN');
    expect((await outcomeOf(orders.get({ id: '1' }))).error).toMatchObject({
      codeName: 'UNAVAILABLE',
      reason: 'closed',
    });
    expect(over).toBe(false);
    await advance(DELAY_MS);
    await until(() => over);
    await closed;
  });
});
