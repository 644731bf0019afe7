import { Logger } from '@nestjs/common';
import { ScriptedGrpcServer, captureLeaks, type ScriptedCall } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom } from 'rxjs';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { CapturedLog } from '../support/captured-log.js';
import { startOrdersApp, type OrdersApp } from '../support/orders-app.js';
import { ORDERS_PROTO, send, startHop, type Hop, type HopOptions } from './hop.js';

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
  // Sets `log` again, because Nest has one logger per process, and startOrdersApp() replaces the logger of the hop.
  Logger.overrideLogger(log);
  for (let n = 0; n < times; n++) {
    if (kind === 'http') await send(hop, 'operators:1', { headers });
    else
      await firstValueFrom(
        app.orders.get({ id: 'plain:1' }, { timeoutMs: 20_000, metadata: { 'x-request-id': 'r-1' } }),
      );
  }
}
const propagatedCalls = () =>
  seen.filter(({ deadline, metadata }) => deadline < Infinity || metadata.get('x-request-id').length);
const warnings = () => log.lines.filter(({ level, text }) => level === 'warn' && text.includes('propagate'));

describe('disabled propagation', () => {
  it.each(['http', 'grpc'] as const)(
    'propagates nothing over %s if forRoot() does not enable propagation',
    async (kind) => {
      await callOver(kind, { root: {} });
      expect(propagatedCalls()).toEqual([]);
      expect(warnings()).toEqual([]);
    },
  );

  it.each(['http', 'grpc'] as const)('propagates nothing over %s if the client disables propagation', async (kind) => {
    await callOver(kind, { root: { propagate: EVERYTHING }, client: { propagate: false } });
    expect(propagatedCalls()).toEqual([]);
  });

  it('propagates nothing and logs a warning if only the client enables propagation', async () => {
    await callOver('http', { client: { propagate: EVERYTHING } });
    expect(propagatedCalls()).toEqual([]);
    expect(warnings().map(({ text }) => text)).toEqual([expect.stringContaining('forRoot({ propagate: {} })')]);
  });

  it('propagates nothing over gRPC in a hybrid application without inheritAppConfig', async () => {
    await callOver('grpc', { root: { propagate: EVERYTHING }, inheritAppConfig: false });
    expect(propagatedCalls()).toEqual([]);
  });
});

describe('standalone microservice', () => {
  it('propagates the deadline of inbound calls in a standalone microservice', async () => {
    await callOver('grpc', { root: { propagate: EVERYTHING }, alone: true });
    expect(propagatedCalls()).toHaveLength(1);
    expect(seen[0]?.deadline).toBeLessThan(Date.now() + 20_000);
  });
});

describe('propagation options of a client', () => {
  it('overrides the propagation options of forRoot() with those of a client', async () => {
    await callOver('http', { root: { propagate: {} }, client: { propagate: { metadata: ['x-request-id'] } } });
    expect(seen.map(({ deadline }) => deadline)).toEqual([Infinity, Infinity]);
    expect(propagatedCalls()).toHaveLength(2);
  });
});

describe('values that gRPC cannot send', () => {
  it('omits a propagated value, and logs one warning per key that names the -bin form, but not the value', async () => {
    hop = await startHop({ downstream: server.url, logger: log, root: { propagate: EVERYTHING } });
    Logger.overrideLogger(log);
    for (let n = 0; n < 3; n++) await send(hop, 'operators:1', { headers: { ...headers, 'x-request-id': 'Zo\u00eb' } });
    expect(seen.length).toBeGreaterThan(0);
    for (const call of seen) expect(call.metadata.get('x-request-id')).toEqual([]);
    expect(warnings().map(({ text }) => text)).toEqual([
      "propagate.metadata: a value of 'x-request-id' is not forwarded: expected printable ASCII; write a key that ends in '-bin' and a Buffer for other values. To forward any value, let the caller send it as 'x-request-id-bin', in base64, and propagate that key",
    ]);
  });
});
