import { Module, type INestApplicationContext } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import {
  GrpcClients,
  ResilientGrpcModule,
  getGrpcServiceToken,
  type DrainOptions,
  type Resilient,
} from 'nestjs-resilient-grpc';
import { ScriptedGrpcServer, captureLeaks, waitFor } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom } from 'rxjs';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { holdTimers } from '../server/support/held-timers.js';
import type { OrdersClient } from './orders-client.js';
import { ORDERS_PROTO } from './places.js';

const leaks = captureLeaks();
let server: ScriptedGrpcServer;
let lines: string[];

beforeAll(async () => {
  server = await ScriptedGrpcServer.start({ protoPath: ORDERS_PROTO });
});
beforeEach(() => {
  lines = [];
  server.reset();
  server.script('Get', { message: { id: '1', item: 'tea' }, hold: 'everything' });
});
afterAll(async () => {
  await server.close();
  await leaks.settled();
});

const logger = {
  log: (message: string, context: string) => lines.push(`LOG [${context}] ${message}`),
  warn: (message: string, context: string) => lines.push(`WARN [${context}] ${message}`),
  error: () => undefined,
};

async function start(drain?: DrainOptions): Promise<{ app: INestApplicationContext; orders: Resilient<OrdersClient> }> {
  @Module({
    imports: [
      ResilientGrpcModule.forRoot({ drain }),
      ResilientGrpcModule.forFeature([{ name: 'orders', protoPath: ORDERS_PROTO, url: server.url }]),
    ],
  })
  class AppModule {}
  const app = await NestFactory.createApplicationContext(AppModule, { logger });
  return { app, orders: app.get(getGrpcServiceToken('orders', 'Orders')) };
}

describe('shutdown', () => {
  it('lets calls in flight finish during a shutdown, rejects new calls, closes the clients, and logs the start and the result', async () => {
    const { app, orders } = await start();
    const call = firstValueFrom(orders.get({ id: '1' }));
    await waitFor(() => server.heldCount() === 1);
    const closing = app.close();
    await waitFor(() => !app.get(GrpcClients).get('orders').accepting);
    await expect(firstValueFrom(orders.get({ id: '2' }))).rejects.toMatchObject({
      reason: 'draining',
      reachedServer: 'no',
    });
    server.release();
    expect(await call).toMatchObject({ item: 'tea' });
    await closing;
    expect(app.get(GrpcClients).get('orders').connectivity.state).toBe('SHUTDOWN');
    expect(lines.filter((line) => line.includes('[ResilientGrpc]'))).toEqual([
      'LOG [ResilientGrpc] shutdown started with 1 call to /orders.v1.Orders/Get running; ' +
        'calls that do not end within 8 s (drain.timeoutMs of ResilientGrpcModule) are cut off',
      expect.stringMatching(
        /^LOG \[ResilientGrpc\] 1 client drained [\d.]+ m?s after the shutdown started: 1 calls? finished, 0 streams completed, 0 cut off$/,
      ),
    ]);
    await expect(firstValueFrom(orders.get({ id: '3' }))).rejects.toMatchObject({ reason: 'closed' });
  });

  it('cuts off calls that exceed the drain timeout', async () => {
    const { app, orders } = await start({ timeoutMs: 50 });
    const call = firstValueFrom(orders.get({ id: '1' }));
    const failed = expect(call).rejects.toMatchObject({
      codeName: 'UNAVAILABLE',
      reason: 'draining',
      reachedServer: 'maybe',
    });
    await waitFor(() => server.heldCount() === 1);
    await app.close();
    await failed;
    expect(lines.at(-1)).toMatch(
      /^WARN .* after the shutdown started: 0 calls finished, 0 streams completed, 1 cut off/,
    );
    expect(lines.at(-1)).toContain(
      '(at the timeout: 1 call to /orders.v1.Orders/Get); to give calls more time, ' +
        'raise drain.timeoutMs (50 ms) of ResilientGrpcModule.forRoot()',
    );
    await waitFor(() => server.counts().open === 0);
  });

  it('sets GrpcClients.accepting to false when a shutdown starts, while calls still succeed for readinessDelayMs', async () => {
    const { app, orders } = await start({ readinessDelayMs: 5_000 });
    server.script('Get', { message: { id: '1', item: 'tea' } });
    const clients = app.get(GrpcClients);
    const { advance, until } = holdTimers();
    let closed = false;
    const closing = app.close().then(() => (closed = true));
    await until(() => !clients.accepting);
    await advance(4_999);
    expect(await firstValueFrom(orders.get({ id: '1' }))).toMatchObject({ item: 'tea' });
    expect(closed).toBe(false);
    await advance(1);
    await until(() => closed);
    await closing;
  });

  it('drains the clients once if app.close() is called twice in parallel and once more later', async () => {
    const { app } = await start();
    await Promise.all([app.close(), app.close()]);
    await app.close();
    expect(lines.filter((line) => line.includes('drained'))).toHaveLength(1);
  });
});

describe('start', () => {
  it('logs one line per client at startup, with its target, services, and settings', async () => {
    const { app } = await start();
    expect(lines.filter((line) => line.includes('[ResilientGrpc:orders]'))).toEqual([
      expect.stringMatching(
        /^LOG \[ResilientGrpc:orders\] 127\.0\.0\.1:\d+(?: \(transport: grpc-js, [^)]+\))? \| orders\.v1\.Orders \| safe to repeat: Get, Watch \(proto idempotency_level\) \| calls wait up to \d\.\d s during an outage$/,
      ),
    ]);
    await app.close();
  });
});
