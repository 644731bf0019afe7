import { Metadata } from '@grpc/grpc-js';
import { ScriptedGrpcServer, captureLeaks, type ScriptedCall } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom } from 'rxjs';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { startOrdersApp, type OrdersApp } from '../support/orders-app.js';
import { ORDERS_PROTO, startHop, type Hop } from './hop.js';

const leaks = captureLeaks();
let server: ScriptedGrpcServer;
let last: Hop;
let first: Hop;
let app: OrdersApp;
let seen: ScriptedCall[];

beforeAll(async () => {
  server = await ScriptedGrpcServer.start({ protoPath: ORDERS_PROTO });
  last = await startHop({ downstream: server.url, root: { propagate: {} } });
  first = await startHop({ downstream: last.url, root: { propagate: {} } });
  app = await startOrdersApp({ url: first.url });
});
beforeEach(() => {
  seen = [];
  server.reset();
  server.script('Get', (call) => {
    seen.push(call);
    return { status: 'UNAVAILABLE' };
  });
});
afterAll(async () => {
  await app.close();
  await first.close();
  await last.close();
  await server.close();
  await leaks.settled();
});

/** Makes one attempt with the metadata `entries`. */
async function callWith(entries: Readonly<Record<string, string>>): Promise<unknown> {
  const metadata = new Metadata();
  for (const [key, value] of Object.entries(entries)) metadata.set(key, value);
  return firstValueFrom(app.orders.get({ id: 'plain:1' }, metadata, { retry: false })).catch((error: unknown) => error);
}

describe('retry chain', () => {
  it('makes no retries on any hop for a call that is itself a retry', async () => {
    expect(await callWith({ 'grpc-previous-rpc-attempts': '1' })).toMatchObject({ codeName: 'UNAVAILABLE' });
    expect(seen).toHaveLength(1);
    expect(seen[0]?.previousAttempts).toBe(0);
    expect(seen[0]?.metadata.get('x-retry-chain')).toEqual(['1']);
  });

  it('retries a first attempt on both hops, but makes no retries on the last hop for a call that the first hop sends as a retry', async () => {
    await callWith({});
    // The last hop makes four attempts for the first attempt that it receives, and one for each of the three that follow.
    expect(seen).toHaveLength(7);
    expect(seen.filter(({ metadata }) => metadata.get('x-retry-chain').length > 0)).toHaveLength(3);
  });
});
