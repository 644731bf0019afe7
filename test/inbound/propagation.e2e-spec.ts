import { Metadata } from '@grpc/grpc-js';
import type { GrpcCallOptions } from 'nestjs-resilient-grpc';
import { ScriptedGrpcServer, captureLeaks, waitFor, type ScriptedCall } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom } from 'rxjs';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { median } from '../support/call-load.js';
import { startOrdersApp, type OrdersApp } from '../support/orders-app.js';
import { repeatUntil } from '../support/repeat-until.js';
import { recordTiming } from '../support/timing.js';
import { ask, expectLeavingCancels, ORDERS_PROTO, startHop, type Hop, type Way } from './hop.js';

const leaks = captureLeaks();
/** Deadline of calls that must succeed. */
const TIMEOUT_MS = 20_000;
const EVERYTHING = { deadline: true, cancellation: true, metadata: ['x-request-id', 'x-trace-bin'] };

let server: ScriptedGrpcServer;
let hop: Hop;
/** The caller of the hop. */
let app: OrdersApp;
let seen: ScriptedCall<{ id: string }>[];

beforeAll(async () => {
  server = await ScriptedGrpcServer.start({ protoPath: ORDERS_PROTO });
  hop = await startHop({ downstream: server.url, root: { propagate: EVERYTHING } });
  app = await startOrdersApp({ url: hop.url });
});
beforeEach(() => {
  seen = [];
  server.reset();
  server.script<{ id: string }>('Get', (call) => {
    seen.push(call);
    return { message: { id: call.request.id } };
  });
});
afterAll(async () => {
  await app.close();
  await hop.close();
  await server.close();
  await leaks.settled();
});

const get = (id: string, options?: GrpcCallOptions) => firstValueFrom(app.orders.get({ id }, options));
const remaining = (call: ScriptedCall | undefined) => (call?.deadline ?? NaN) - Date.now();

const WAYS: readonly Way[] = ['plain', 'operators', 'awaited', 'retried', 'shared'];

describe('a gRPC call that is served', () => {
  it.each(WAYS)('hands its deadline on, shortened by what has passed: %s', async (way) => {
    const before = Date.now();
    await get(`${way}:1`, { timeoutMs: TIMEOUT_MS });
    expect(seen.length).toBeGreaterThan(0);
    for (const call of seen) {
      expect(call.deadline).toBeGreaterThan(before);
      expect(remaining(call)).toBeLessThan(TIMEOUT_MS);
    }
    await get(`${way}:2`);
    expect(seen.at(-1)?.deadline).toBe(Infinity);
  });

  it('ends what it called when its deadline passes', async () => {
    server.script('Get', { never: true });
    await repeatUntil('the server receives the outbound call before the deadline', async () => {
      const error: unknown = await get('plain:1', { timeoutMs: 60 }).catch((reason: unknown) => reason);
      expect(error).toMatchObject({ codeName: 'DEADLINE_EXCEEDED' });
      return server.counts('Get').calls > 0;
    });
    await waitFor(() => server.counts('Get').open === 0);
  });

  it('cancels what it called when its caller cancels', { tags: ['timed'] }, async ({ task }) => {
    const took: number[] = [];
    for (let round = 0; round < 15; round++) {
      const way = WAYS[round % WAYS.length]!;
      const controller = new AbortController();
      const arrived = new Promise<AbortSignal>((resolve) => {
        server.script('Get', ({ signal }) => {
          resolve(signal);
          return { never: true };
        });
      });
      const call = get(`${way}:${round}`, { signal: controller.signal }).catch((reason: unknown) => reason);
      const signal = await arrived;
      const gone = new Promise<number>((resolve) => {
        signal.addEventListener('abort', () => resolve(performance.now()), { once: true });
      });
      const cancelledAt = performance.now();
      controller.abort();
      took.push((await gone) - cancelledAt);
      expect(await call).toMatchObject({ reason: 'cancelled' });
    }
    recordTiming(task, 'median time from cancellation to cancellation downstream, ms', median(took), { atMost: 50 });
  });

  it('hands on the keys that are named, under those of the call itself', async () => {
    const metadata = new Metadata();
    metadata.set('x-request-id', 'r-1');
    metadata.set('x-other', 'o');
    metadata.set('authorization', 'hush');
    metadata.set('x-trace-bin', Buffer.from([1, 2, 255]));
    await get('operators:1', { metadata });
    for (const call of seen) {
      expect(call.metadata.get('x-request-id')).toEqual(['r-1']);
      expect(call.metadata.get('x-trace-bin')).toEqual([Buffer.from([1, 2, 255])]);
      expect(call.metadata.get('x-other')).toEqual([]);
      expect(call.metadata.get('authorization')).toEqual([]);
    }
  });

  it('leaves a call alone that says so', async () => {
    await get('outliving:1', { timeoutMs: TIMEOUT_MS, metadata: { 'x-request-id': 'r-1' } });
    expect(seen[0]?.deadline).toBe(Infinity);
    expect(seen[0]?.metadata.get('x-request-id')).toEqual([]);
  });

  it('keeps many at a time apart, also where answers come over a connection that another opened', async () => {
    const ids = Array.from({ length: 60 }, (_, index) => `${WAYS[index % WAYS.length]!}:${index}`);
    await Promise.all(ids.map((id) => get(id, { timeoutMs: TIMEOUT_MS, metadata: { 'x-request-id': id } })));
    expect(seen.length).toBeGreaterThan(60);
    for (const call of seen) expect(call.metadata.get('x-request-id')).toEqual([call.request.id]);
  });

  it('ends a stream that it relays when its caller leaves', async () => {
    server.script('Watch', { messages: [{ sequence: '1' }], never: true });
    const stream = app.orders.watch({ from: '0' })[Symbol.asyncIterator]();
    await stream.next();
    await stream.return?.();
    await waitFor(() => server.counts('Watch').open === 0);
  });

  it('keeps many streams apart that are resumed at a time, whoever opened their connection', async () => {
    const asked = new Map<string, string[]>();
    server.script<{ from: { toString: () => string } }>('Watch', ({ request: { from }, metadata }) => {
      const id = String(metadata.get('x-request-id')[0]);
      asked.set(id, [...(asked.get(id) ?? []), String(from)]);
      return { messages: [{ sequence: String(Number(from) + 1) }], never: true };
    });
    const streams = Array.from({ length: 20 }, (_, index) => {
      const stream = { received: 0, leave: new AbortController() };
      const options = { metadata: { 'x-request-id': `r-${String(index)}` }, signal: stream.leave.signal };
      const from = String(100 * (index + 1));
      app.orders.watch({ from }, options).subscribe({ next: () => (stream.received += 1), error: () => undefined });
      return stream;
    });
    for (let breaks = 1; breaks <= 2; breaks++) {
      await waitFor(() => streams.every(({ received }) => received === breaks), { timeoutMs: 20_000 });
      await server.restart('kill-connections');
    }
    await waitFor(() => streams.every(({ received }) => received === 3), { timeoutMs: 20_000 });
    const expected = streams.map((_, index) => {
      const first = 100 * (index + 1);
      return [`r-${String(index)}`, [first, first + 1, first + 2].map(String)];
    });
    expect(Object.fromEntries(asked)).toEqual(Object.fromEntries(expected));
    // Each is cancelled with its own caller, too.
    for (const { leave } of streams.slice(1)) leave.abort();
    await waitFor(() => server.counts('Watch').open === 1);
    streams[0]!.leave.abort();
    await waitFor(() => server.counts('Watch').open === 0);
  });

  it.each(['plain', 'leaving'])('does not cancel what goes on after its answer: %s', async (way) => {
    server.script<{ id: string }>('Get', ({ request }) => ({ message: request, delayMs: 30 }));
    await get(`${way}:1`);
    await waitFor(() => server.counts('Get').answered === 1);
    expect(server.counts('Get').cancelled).toBe(0);
  });
});

describe('an HTTP request that is served', () => {
  it.each([
    ['a handler', 'plain:1', undefined],
    ['operators', 'operators:1', undefined],
    ['a guard', 'guarded/plain:1', undefined],
    ['a request with a body', 'awaited:1', { method: 'POST', body: JSON.stringify({ text: 'x'.repeat(50_000) }) }],
  ] as const)('hands on its deadline and its headers: %s', async (_, path, init) => {
    const headers = { 'grpc-timeout': `${TIMEOUT_MS}m`, 'x-request-id': 'r-2', 'content-type': 'application/json' };
    expect(await ask(hop, path, { ...init, headers })).toBeLessThan(300);
    expect(seen.length).toBeGreaterThan(path.startsWith('guarded') || path.startsWith('awaited') ? 1 : 0);
    for (const call of seen) {
      expect(remaining(call)).toBeLessThan(TIMEOUT_MS);
      expect(call.metadata.get('x-request-id')).toEqual(['r-2']);
    }
  });

  it('makes no deadline of a header that is none', async () => {
    await ask(hop, 'plain:1', { headers: { 'grpc-timeout': 'soon' } });
    expect(seen[0]?.deadline).toBe(Infinity);
  });

  it('cancels what it called when its client goes away', async () => {
    await expectLeavingCancels(hop, server);
  });

  it('does not cancel what goes on after its response', async () => {
    server.script<{ id: string }>('Get', ({ request }) => ({ message: request, delayMs: 30 }));
    expect(await ask(hop, 'leaving:1')).toBe(200);
    await waitFor(() => server.counts('Get').answered === 1);
    expect(server.counts('Get').cancelled).toBe(0);
  });

  it('takes no stranger for a retry', async () => {
    await ask(hop, 'plain:1', { headers: { 'x-retry-chain': '1', 'grpc-previous-rpc-attempts': '2' } });
    expect(seen[0]?.metadata.get('x-retry-chain')).toEqual([]);
  });
});
