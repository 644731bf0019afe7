import { setTimeout as delay } from 'node:timers/promises';
import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { ResilientGrpcModule, getGrpcServiceToken, type Resilient } from 'nestjs-resilient-grpc';
import { ScriptedGrpcServer, waitFor } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom } from 'rxjs';
import { expect, it, onTestFinished } from 'vitest';
import type { OrdersClient } from '../gen/orders.js';
import { HealthModule } from './health.module.js';

interface Report {
  readonly status: string;
  readonly details: Readonly<Record<string, { readonly state?: string; readonly message?: string } | undefined>>;
}

it('stays live and ready during an outage, which only the dependencies report', async () => {
  const scripts = { Get: { message: { id: '7' } } };
  const server = await ScriptedGrpcServer.start({ protoPath: 'protos/orders.proto', scripts });
  onTestFinished(() => server.close());
  const client = { name: 'orders', protoPath: 'protos/orders.proto', url: server.url, outageGraceMs: 500 };
  @Module({
    imports: [
      ResilientGrpcModule.forRoot({ drain: { readinessDelayMs: 300 } }),
      ResilientGrpcModule.forFeature([client]),
      HealthModule,
    ],
  })
  class AppModule {}
  const app = await NestFactory.create(AppModule, { logger: false, forceCloseConnections: true });
  onTestFinished(() => app.close());
  await app.listen(0, '127.0.0.1');
  const base = await app.getUrl();
  const health = async (route: string) => {
    const response = await fetch(`${base}/health/${route}`);
    const { status, details } = (await response.json()) as Report;
    return { code: response.status, status, orders: details['orders'], process: details['process'] };
  };
  const orders = app.get<Resilient<OrdersClient>>(getGrpcServiceToken('orders', 'Orders'), { strict: false });

  // Before the first call, the channel is idle, and the check leaves it idle.
  expect(await health('dependencies')).toMatchObject({ code: 200, orders: { state: 'IDLE' } });
  await firstValueFrom(orders.get({ id: '7' }));

  await server.stop('kill-connections');
  const waiting = firstValueFrom(orders.get({ id: '7' })).catch(() => 'failed');
  await waitFor(async () => (await health('dependencies')).orders?.message === 'outage; calls wait');
  expect(await waiting).toBe('failed');
  expect(await health('dependencies')).toMatchObject({ code: 503, orders: { message: 'outage; calls fail' } });
  expect(await health('live')).toMatchObject({ code: 200 });
  expect(await health('ready')).toMatchObject({ code: 200 });

  // The client reconnects without further calls.
  await server.restart();
  await waitFor(async () => (await health('dependencies')).code === 200, { timeoutMs: 15_000 });

  // A connection that ends while nobody calls starts no outage.
  await server.stop('kill-connections');
  await waitFor(async () => (await health('dependencies')).orders?.state === 'IDLE');
  await delay(1_000);
  expect(await health('dependencies')).toMatchObject({ code: 200, orders: { state: 'IDLE' } });

  // At the shutdown, readiness goes first, while all requests are still served. Terminus then fails every check.
  const closing = app.close();
  expect(await health('live')).toMatchObject({ code: 503, status: 'shutting_down' });
  expect(await health('ready')).toMatchObject({ code: 503, process: { state: 'draining' } });
  await closing;
});
