import { Controller, Get, Injectable, Module, type INestApplication, type OnModuleInit } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { HealthCheck, HealthCheckService, TerminusModule } from '@nestjs/terminus';
import { ResilientGrpcModule, getGrpcServiceToken, type DrainOptions, type Resilient } from 'nestjs-resilient-grpc';
import {
  GrpcChannelHealthIndicator,
  GrpcReadinessHealthIndicator,
  ResilientGrpcHealthModule,
} from 'nestjs-resilient-grpc/health';
import { ResilientGrpcServer, ResilientGrpcServerModule } from 'nestjs-resilient-grpc/server';
import { captureLeaks, waitFor } from 'nestjs-resilient-grpc/testing';
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import type { OrdersClient } from '../nest/orders-client.js';
import { ORDERS_PROTO } from '../nest/places.js';
import { ordersModule, ordersOf, ordersOptions, ownUrl } from '../server/served-orders.js';
import { meet, startScripted } from './support.js';

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

/** What the process said of itself while its modules were made. */
const early: unknown[] = [];
@Injectable()
class Early implements OnModuleInit {
  constructor(private readonly readiness: GrpcReadinessHealthIndicator) {}

  onModuleInit(): void {
    early.push(this.readiness.check('me'));
  }
}

/** As after SIGTERM: Terminus waits for no other. Its type has no argument. */
const closeBySignal = (app: INestApplication) => (app as { close(signal?: string): Promise<void> }).close('SIGTERM');

type Imports = NonNullable<NonNullable<Parameters<typeof Module>[0]>['imports']>;

async function start(imports: Imports, terminus = { logger: false as const }) {
  @Module({
    imports: [...imports, ResilientGrpcHealthModule, TerminusModule.forRoot(terminus)],
    controllers: [HealthController],
    providers: [Early],
  })
  class AppModule {}
  const app = await NestFactory.create(AppModule, { logger: false, forceCloseConnections: true });
  onTestFinished(() => app.close());
  return app;
}

async function listening(app: INestApplication) {
  await app.listen(0, '127.0.0.1');
  const http = await app.getUrl();
  return async (route: string): Promise<{ readonly code: number; readonly report: any }> => {
    const answer = await fetch(`${http}/health/${route}`, { headers: { connection: 'close' } });
    return { code: answer.status, report: await answer.json() };
  };
}

async function clientOf(drain: DrainOptions) {
  const server = await startScripted(onTestFinished, undefined);
  const client = { name: 'orders', protoPath: ORDERS_PROTO, url: server.url };
  return { server, imports: [ResilientGrpcModule.forRoot({ drain }), ResilientGrpcModule.forFeature([client])] };
}

describe('readiness of the process', () => {
  it('is down while it starts, and up then, whatever its upstream is', async () => {
    early.length = 0;
    const { server, imports } = await clientOf({});
    await server.stop('kill-connections');
    const app = await start(imports);
    const ask = await listening(app);
    expect(early).toEqual([{ me: { status: 'down', state: 'starting' } }]);
    expect(await ask('ready')).toMatchObject({
      code: 200,
      report: { details: { process: { status: 'up', state: 'ready' } } },
    });
    expect((await ask('live')).code).toBe(200);
  });

  it('needs no client', async () => {
    const ask = await listening(await start([]));
    expect((await ask('ready')).code).toBe(200);
    expect((await ask('dependencies')).code).toBe(200);
  });

  it('is down before anything is refused, and calls go on for the delay', async () => {
    const { imports } = await clientOf({ readinessDelayMs: 400, timeoutMs: 5_000 });
    const app = await start(imports);
    const ask = await listening(app);
    const orders = app.get<Resilient<OrdersClient>>(getGrpcServiceToken('orders', 'Orders'), { strict: false });
    const readiness = app.get(GrpcReadinessHealthIndicator);
    const channels = app.get(GrpcChannelHealthIndicator);
    expect((await meet(orders.get({ id: '1' }))).error).toBeUndefined();

    let closed = false;
    const closing = app.close().then(() => (closed = true));
    await waitFor(() => readiness.check().process.status === 'down');
    const beganAt = performance.now();
    expect(await ask('ready')).toMatchObject({
      code: 503,
      report: { status: 'shutting_down', details: { process: { status: 'down', state: 'draining' } } },
    });
    expect((await channels.check('orders')).orders).toMatchObject({ status: 'down', message: 'draining' });
    let served = 0;
    let refused: number | undefined;
    while (!closed) {
      const { error } = await meet(orders.get({ id: '1' }));
      if (error === undefined) served += 1;
      else {
        expect(error.codeName).toBe('UNAVAILABLE');
        refused ??= performance.now() - beganAt;
      }
      await new Promise(setImmediate);
    }
    await closing;
    expect(served).toBeGreaterThan(5);
    expect(refused ?? Infinity).toBeGreaterThan(300);
    expect(readiness.check().process).toEqual({ status: 'down', state: 'draining' });
  });

  it('is down when a server of the process drains, though nothing else does', async () => {
    const url = ownUrl();
    const drain = { readinessDelayMs: 300, timeoutMs: 5_000 };
    const app = await start([ordersModule(ResilientGrpcServerModule.forRoot(ordersOptions(url, { drain })))]);
    const microservice = app.connectMicroservice({ strategy: app.get(ResilientGrpcServer, { strict: false }) });
    await app.startAllMicroservices();
    const ask = await listening(app);
    const orders = ordersOf(url);
    expect((await ask('ready')).code).toBe(200);
    expect(await orders.ask('get', { id: '7' })).toMatchObject({ id: '7' });

    let closed = false;
    const closing = microservice.close().then(() => (closed = true));
    const down = await ask('ready');
    // The server refuses nothing yet.
    expect(await orders.ask('get', { id: '7' })).toMatchObject({ id: '7' });
    expect(closed).toBe(false);
    expect(down).toMatchObject({ code: 503, report: { details: { process: { status: 'down', state: 'draining' } } } });
    expect((await ask('live')).code).toBe(200);
    await closing;
    expect((await ask('ready')).code).toBe(503);
  });
});

describe("Terminus' own delay", () => {
  const DELAY_MS = 300;
  const terminus = (ms: number) => TerminusModule.forRoot({ logger: false, gracefulShutdownTimeoutMs: ms });
  const closed = async (imports: Imports, listens = false) => {
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
    const beganAt = performance.now();
    await closeBySignal(app);
    return performance.now() - beganAt;
  };

  it('runs side by side with that of the clients, wherever it is imported', async () => {
    const { imports } = await clientOf({ readinessDelayMs: DELAY_MS, timeoutMs: 5_000 });
    for (const all of [
      [terminus(DELAY_MS), ...imports],
      [...imports, terminus(DELAY_MS)],
    ]) {
      const ms = await closed(all);
      expect(ms).toBeGreaterThan(DELAY_MS - 10);
      expect(ms).toBeLessThan(2 * DELAY_MS - 10);
    }
  });

  it("comes on top of a server's where that is imported behind it", async () => {
    const server = () => {
      const drain = { readinessDelayMs: DELAY_MS, timeoutMs: 5_000 };
      return ResilientGrpcServerModule.forRoot(ordersOptions(ownUrl(), { drain }));
    };
    expect(await closed([server(), terminus(DELAY_MS)], true)).toBeLessThan(2 * DELAY_MS - 10);
    expect(await closed([terminus(DELAY_MS), server()], true)).toBeGreaterThan(2 * DELAY_MS - 10);
  });

  it('is a part of our time: where it is longer, clients close while requests are still served', async () => {
    const { imports } = await clientOf({ timeoutMs: 200 });
    @Module({ imports: [...imports, terminus(600)] })
    class AppModule {}
    const app = await NestFactory.create(AppModule, { logger: false });
    await app.listen(0, '127.0.0.1');
    const orders = app.get<Resilient<OrdersClient>>(getGrpcServiceToken('orders', 'Orders'), { strict: false });
    let over = false;
    const closing = closeBySignal(app).then(() => (over = true));
    expect((await meet(orders.get({ id: '1' }))).error).toBeUndefined();
    const refused = await waitFor(async () => (await meet(orders.get({ id: '1' }))).error);
    // One may have been in flight.
    expect(refused).toMatchObject({ codeName: 'UNAVAILABLE', reason: expect.stringMatching(/^(draining|closed)$/) });
    expect(over).toBe(false);
    await closing;
  });
});
