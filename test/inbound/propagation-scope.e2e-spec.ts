import { Logger } from '@nestjs/common';
import { ScriptedGrpcServer, captureLeaks, type ScriptedCall } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom } from 'rxjs';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { CapturedLog } from '../support/captured-log.js';
import { startOrdersApp, type OrdersApp } from '../support/orders-app.js';
import { ORDERS_PROTO, ask, startHop, type Hop, type HopOptions } from './hop.js';

const leaks = captureLeaks();
const EVERYTHING = { deadline: true, cancellation: true, metadata: ['x-request-id'] };
const headers = { 'grpc-timeout': '20000m', 'x-request-id': 'r-1' };
let server: ScriptedGrpcServer;
let seen: ScriptedCall[];
let log: CapturedLog;
let hop: Hop | undefined;
let app: OrdersApp | undefined;

beforeAll(async () => {
  server = await ScriptedGrpcServer.start({ protoPath: ORDERS_PROTO });
});
beforeEach(() => {
  seen = [];
  log = new CapturedLog();
  server.script('Get', (call) => {
    seen.push(call);
    return {};
  });
});
afterEach(async () => {
  await app?.close();
  await hop?.close();
  hop = app = undefined;
});
afterAll(async () => {
  await server.close();
  await leaks.settled();
});

async function callOver(kind: 'http' | 'grpc', options: Omit<HopOptions, 'downstream'>, times = 1): Promise<void> {
  hop = await startHop({ downstream: server.url, logger: log, ...options });
  app = await startOrdersApp({ url: hop.url });
  // Nest has one logger a process, the last one's.
  Logger.overrideLogger(log);
  for (let n = 0; n < times; n++) {
    if (kind === 'http') await ask(hop, 'operators:1', { headers });
    else
      await firstValueFrom(
        app.orders.get({ id: 'plain:1' }, { timeoutMs: 20_000, metadata: { 'x-request-id': 'r-1' } }),
      );
  }
}
const boundCalls = () =>
  seen.filter(({ deadline, metadata }) => deadline < Infinity || metadata.get('x-request-id').length);
const warnings = () => log.lines.filter(({ level, text }) => level === 'warn' && text.includes('propagate'));

describe('nothing is handed on', () => {
  it.each(['http', 'grpc'] as const)('where forRoot does not name it: %s', async (kind) => {
    await callOver(kind, { root: {} });
    expect(boundCalls()).toEqual([]);
    expect(warnings()).toEqual([]);
  });

  it.each(['http', 'grpc'] as const)('by a client that switches it off: %s', async (kind) => {
    await callOver(kind, { root: { propagate: EVERYTHING }, client: { propagate: false } });
    expect(boundCalls()).toEqual([]);
  });

  it('where a client names it and nothing captures, which is told', async () => {
    await callOver('http', { client: { propagate: EVERYTHING } });
    expect(boundCalls()).toEqual([]);
    expect(warnings().map(({ text }) => text)).toEqual([expect.stringContaining('forRoot({ propagate: {} })')]);
  });

  it('by a microservice without the interceptors of the application, which is told once', async () => {
    await callOver('grpc', { root: { propagate: EVERYTHING }, inheritAppConfig: false }, 120);
    expect(boundCalls()).toEqual([]);
    expect(warnings().map(({ text }) => text)).toEqual([expect.stringContaining('inheritAppConfig: true')]);
  });
});

describe('a microservice alone', () => {
  it('hands on what it is asked with', async () => {
    await callOver('grpc', { root: { propagate: EVERYTHING }, alone: true });
    expect(boundCalls()).toHaveLength(1);
    expect(seen[0]?.deadline).toBeLessThan(Date.now() + 20_000);
  });
});

describe('a client over forRoot', () => {
  it('hands on what it names itself', async () => {
    await callOver('http', { root: { propagate: {} }, client: { propagate: { metadata: ['x-request-id'] } } });
    expect(seen.map(({ deadline }) => deadline)).toEqual([Infinity, Infinity]);
    expect(boundCalls()).toHaveLength(2);
  });
});
