import { credentials, Metadata, status, type ServiceError } from '@grpc/grpc-js';
import { ScriptedGrpcServer, captureLeaks, waitFor, type ScriptedCall } from 'nestjs-resilient-grpc/testing';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ORDERS_PROTO, startHop, type Hop } from '../inbound/hop.js';
import { OrdersClient, type PlainOrders } from './handlers/orders-service.js';

const leaks = captureLeaks();

let downstream: ScriptedGrpcServer;
let hop: Hop;
let closeHop: () => Promise<void>;
let caller: PlainOrders;
let seen: ScriptedCall<{ id: string }>[];

beforeAll(async () => {
  downstream = await ScriptedGrpcServer.start({ protoPath: ORDERS_PROTO });
});
beforeEach(async () => {
  seen = [];
  downstream.reset();
  downstream.script<{ id: string }>('Get', (call) => {
    seen.push(call);
    return { message: { id: call.request.id } };
  });
  hop = await startHop({
    downstream: downstream.url,
    root: { propagate: { deadline: true, cancellation: true, metadata: ['x-request-id'] } },
    client: { methods: { Get: { idempotent: true } } },
    server: 'resilient',
    // The strategy, not an interceptor, observes inbound calls.
    inheritAppConfig: false,
  });
  let closed: Promise<void> | undefined;
  closeHop = () => (closed ??= hop.close());
  caller = new OrdersClient(hop.url, credentials.createInsecure());
});
afterEach(async () => {
  caller.close();
  await closeHop();
});
afterAll(async () => {
  await downstream.close();
  await leaks.settled();
});

function get(id: string, metadata = new Metadata(), deadlineMs = 20_000): Promise<unknown> {
  return new Promise((resolve, reject) => {
    caller.get({ id }, metadata, { deadline: Date.now() + deadlineMs }, (error, value) => {
      if (error === null) resolve(value);
      else reject(error);
    });
  });
}

describe('inbound call of ResilientGrpcServer', () => {
  it('propagates the inbound deadline and metadata to outbound calls, including those of guards', async () => {
    const metadata = new Metadata();
    metadata.set('x-request-id', 'r-1');
    await get('guarded:1', metadata, 20_000);
    expect(seen.map(({ request }) => request.id)).toEqual(['guard of guarded:1', 'guarded:1']);
    for (const call of seen) {
      expect(call.deadline - Date.now()).toBeLessThan(20_000);
      expect(call.metadata.get('x-request-id')).toEqual(['r-1']);
    }
  });

  it.each([
    ['starts in an RxJS operator', 'operators'],
    ['starts after an await', 'awaited'],
    ['is repeated by retry()', 'retried'],
    ['is shared by shareReplay()', 'shared'],
  ])('propagates the inbound deadline and metadata to an outbound call that %s', async (_what, way) => {
    const metadata = new Metadata();
    metadata.set('x-request-id', way);
    await get(`${way}:1`, metadata, 20_000);
    expect(seen.length).toBeGreaterThan(0);
    for (const call of seen) {
      expect(call.deadline - Date.now()).toBeLessThan(20_000);
      expect(call.metadata.get('x-request-id')).toEqual([way]);
    }
  });

  it('cancels outbound calls when the inbound call is cancelled', async () => {
    downstream.script('Get', { never: true });
    const call = caller.get({ id: 'plain:1' }, {}, () => undefined);
    await waitFor(() => downstream.counts('Get').open === 1);
    call.cancel();
    await waitFor(() => downstream.counts('Get').open === 0);
  });

  it('does not retry outbound calls if the inbound call is itself a retry', async () => {
    downstream.script('Get', { status: 'UNAVAILABLE' });
    const metadata = new Metadata();
    metadata.set('grpc-previous-rpc-attempts', '1');
    await expect(get('plain:1', metadata)).rejects.toMatchObject({ code: status.UNAVAILABLE });
    expect(downstream.counts('Get').calls).toBe(1);
    await expect(get('plain:2')).rejects.toMatchObject({ code: status.UNAVAILABLE });
    expect(downstream.counts('Get').calls).toBeGreaterThan(2);
  });
});

describe('relayed stream', () => {
  it('ends a relayed stream with UNAVAILABLE on shutdown, not with OK', async () => {
    downstream.script('Watch', { messages: [{ sequence: '1' }], never: true });
    const stream = caller.watch({ from: '0' });
    const got: string[] = [];
    const ended = new Promise<ServiceError | undefined>((resolve) => {
      stream.on('data', ({ sequence }: { sequence: string }) => got.push(sequence));
      stream.on('error', resolve);
      stream.on('end', () => {
        resolve(undefined);
      });
    });
    await waitFor(() => got.length === 1);
    const closing = closeHop();
    expect(await ended).toMatchObject({ code: status.UNAVAILABLE, details: 'The server is shutting down' });
    await closing;
  });
});
