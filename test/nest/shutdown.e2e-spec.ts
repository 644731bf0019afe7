import { Module, type INestApplicationContext } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import {
  GrpcClients,
  ResilientGrpcModule,
  getGrpcServiceToken,
  type DrainOptions,
  type Resilient,
} from 'nestjs-resilient-grpc';
import { ScriptedGrpcServer, captureLeaks } from 'nestjs-resilient-grpc/testing';
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
  server.script('Get', { message: { id: '1', item: 'tea' } });
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
  it('sets GrpcClients.accepting to false when a shutdown starts, while calls still succeed for readinessDelayMs', async () => {
    const { app, orders } = await start({ readinessDelayMs: 5_000 });
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
