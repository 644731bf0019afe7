import { Controller, Get, Module, type INestApplication } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { HealthCheck, HealthCheckService, TerminusModule } from '@nestjs/terminus';
import { GrpcClients, ResilientGrpcModule, getGrpcServiceToken, type Resilient } from 'nestjs-resilient-grpc';
import {
  GrpcChannelHealthIndicator,
  GrpcServingHealthIndicator,
  ResilientGrpcHealthModule,
} from 'nestjs-resilient-grpc/health';
import { ScriptedGrpcServer, captureLeaks, waitFor } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom } from 'rxjs';
import { afterAll, afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import type { OrdersClient } from '../nest/orders-client.js';
import { ORDERS_PROTO } from '../nest/places.js';

const leaks = captureLeaks();
let server: ScriptedGrpcServer;
let app: INestApplication;
let orders: Resilient<OrdersClient>;
let audit: Resilient<OrdersClient>;
let http: string;

@Controller('health')
class HealthController {
  constructor(
    private readonly health: HealthCheckService,
    private readonly grpc: GrpcChannelHealthIndicator,
  ) {}

  @Get('orders') @HealthCheck() orders() {
    return this.health.check([() => this.grpc.check('orders')]);
  }
  @Get('optional') @HealthCheck() optional() {
    return this.health.check([() => this.grpc.check('audit', { key: 'optional', required: false })]);
  }
  @Get('audit') @HealthCheck() audit() {
    return this.health.check([() => this.grpc.check('audit')]);
  }
  @Get('all') @HealthCheck() all() {
    return this.health.check([() => this.grpc.checkAll()]);
  }
  @Get('except-audit') @HealthCheck() exceptAudit() {
    return this.health.check([() => this.grpc.checkAll({ except: ['audit'] })]);
  }
}

beforeEach(async () => {
  server = await ScriptedGrpcServer.start({
    protoPath: ORDERS_PROTO,
    scripts: { Get: { message: { id: '1', item: 'tea' } } },
  });
  const client = { protoPath: ORDERS_PROTO, url: server.url };
  @Module({
    imports: [
      TerminusModule.forRoot({ logger: false }),
      ResilientGrpcHealthModule,
      ResilientGrpcModule.forFeature([
        { ...client, name: 'orders', outageGraceMs: 60_000 },
        { ...client, name: 'audit', outageGraceMs: 100 },
      ]),
    ],
    controllers: [HealthController],
  })
  class AppModule {}
  app = await NestFactory.create(AppModule, { logger: false, forceCloseConnections: true });
  await app.listen(0, '127.0.0.1');
  http = await app.getUrl();
  orders = app.get(getGrpcServiceToken('orders', 'Orders'));
  audit = app.get(getGrpcServiceToken('audit', 'Orders'));
});
afterEach(async () => {
  await app.close();
  await server.close();
});
afterAll(() => leaks.settled());

interface Report {
  readonly status: string;
  readonly details: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
}
async function fetchHealth(route: string): Promise<{ readonly code: number; readonly report: Report }> {
  const response = await fetch(`${http}/health/${route}`);
  return { code: response.status, report: (await response.json()) as Report };
}

describe('GrpcChannelHealthIndicator', () => {
  it('checks the channel health of all clients except those that are excluded', async () => {
    expect(Object.keys((await fetchHealth('except-audit')).report.details)).toEqual(['orders']);
  });

  it('reports a channel as degraded while calls wait during an outage, down when calls fail, and up when the server listens again', async () => {
    await Promise.all([orders, audit].map((client) => firstValueFrom(client.get({ id: '1' }))));
    await server.stop('kill-connections');
    const waiting = firstValueFrom(orders.get({ id: '1' }));
    await expect(firstValueFrom(audit.get({ id: '1' }))).rejects.toMatchObject({ reason: 'outage' });
    const inside = await waitFor(async () => {
      const answer = await fetchHealth('orders');
      return answer.report.details['orders']?.['outage'] !== undefined && answer;
    });
    expect(inside.code).toBe(200);
    const reported = inside.report.details['orders'];
    // Accepts both forms, because Terminus 11 has no status 'degraded'.
    expect(reported?.['status'] === 'degraded' || reported?.['degraded'] === true).toBe(true);

    expect((await fetchHealth('audit')).code).toBe(503);
    const optional = await fetchHealth('optional');
    expect(optional.code).toBe(200);
    expect(optional.report.details['optional']?.['message']).toBe('outage; calls fail');

    await server.restart();
    expect(await waiting).toMatchObject({ id: '1' });
    await waitFor(async () => {
      await Promise.all([orders, audit].map((client) => firstValueFrom(client.get({ id: '1' }))));
      const { code, report } = await fetchHealth('all');
      return code === 200 && Object.values(report.details).every(({ status }) => status === 'up');
    });
  });

  it('reports two clients under distinct keys if their symbols have the same description', async () => {
    const [first, second] = [Symbol('db'), Symbol('db')];
    const client = { protoPath: ORDERS_PROTO, url: server.url };
    @Module({
      imports: [
        ResilientGrpcHealthModule,
        ResilientGrpcModule.forFeature([
          { ...client, name: first },
          { ...client, name: second },
        ]),
      ],
    })
    class SymbolsModule {}
    const context = await NestFactory.createApplicationContext(SymbolsModule, { logger: false });
    onTestFinished(() => context.close());
    await context.get(GrpcClients).get(first).close();
    const channels = context.get(GrpcChannelHealthIndicator);
    expect(await channels.checkAll()).toMatchObject({ db: { status: 'down' }, 'db (2)': { status: 'up' } });
    expect(Object.keys(await channels.checkAll({ except: [first] }))).toEqual(['db (2)']);
    expect(await channels.check(first)).toMatchObject({ db: { status: 'down' } });
    expect(await channels.check(second, { key: 'replica' })).toMatchObject({ replica: { status: 'up' } });
    const serving = context.get(GrpcServingHealthIndicator);
    expect(await serving.check(first)).toMatchObject({ db: { status: 'down' } });
    expect(await serving.check(first, { key: 'primary' })).toMatchObject({ primary: { status: 'down' } });
  });

  it('reports a channel as down after the application has shut down', async () => {
    const indicator = app.get(GrpcChannelHealthIndicator);
    await app.close();
    expect((await indicator.check('orders'))['orders']).toMatchObject({ status: 'down' });
  });
});
