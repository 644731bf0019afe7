import { Metadata } from '@grpc/grpc-js';
import type { GrpcCallOptions } from 'nestjs-resilient-grpc';
import { ScriptedGrpcServer, captureLeaks, waitFor, type ScriptedCall } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom } from 'rxjs';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { median } from '../support/call-load.js';
import { startOrdersApp, type OrdersApp } from '../support/orders-app.js';
import { repeatUntil } from '../support/repeat-until.js';
import { recordTiming } from '../support/timing.js';
import { expectDisconnectCancels, ORDERS_PROTO, send, startHop, type Hop, type Way } from './hop.js';

const leaks = captureLeaks();
/** Timeout of calls that must succeed. */
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

const WAYS: readonly Way[] = ['plain', 'operators', 'awaited', 'retried', 'shared', 'callback'];

describe('inbound gRPC call', () => {
  it.each(WAYS)('propagates the inbound deadline to outbound calls (form of the call: %s)', async (way) => {
    const before = Date.now();
    await get(`${way}:1`, { timeoutMs: TIMEOUT_MS });
    expect(seen.length).toBeGreaterThan(0);
    for (const call of seen) {
      expect(call.deadline).toBeGreaterThan(before);
      // Accepts the full timeout, because the remaining time equals it if the call took less than a millisecond.
      expect(remaining(call)).toBeLessThanOrEqual(TIMEOUT_MS);
    }
    await get(`${way}:2`);
    expect(seen.at(-1)?.deadline).toBe(Infinity);
  });

  it('ends outbound calls at the inbound deadline', async () => {
    server.script('Get', { never: true });
    await repeatUntil('the server receives the outbound call before the deadline', async () => {
      const error: unknown = await get('plain:1', { timeoutMs: 60 }).catch((reason: unknown) => reason);
      expect(error).toMatchObject({ codeName: 'DEADLINE_EXCEEDED' });
      return server.counts('Get').calls > 0;
    });
    await waitFor(() => server.counts('Get').open === 0);
  });

  it('cancels outbound calls when the inbound caller cancels', { tags: ['timed'] }, async ({ task }) => {
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
      const aborted = new Promise<number>((resolve) => {
        signal.addEventListener('abort', () => resolve(performance.now()), { once: true });
      });
      const cancelledAt = performance.now();
      controller.abort();
      took.push((await aborted) - cancelledAt);
      expect(await call).toMatchObject({ reason: 'cancelled' });
    }
    recordTiming(task, 'median time from a cancellation until the downstream call is cancelled, ms', median(took), {
      atMost: 50,
    });
  });

  it('propagates only the listed metadata keys of an inbound call', async () => {
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

  it('propagates nothing to a call with propagate: false', async () => {
    await get('detached:1', { timeoutMs: TIMEOUT_MS, metadata: { 'x-request-id': 'r-1' } });
    expect(seen[0]?.deadline).toBe(Infinity);
    expect(seen[0]?.metadata.get('x-request-id')).toEqual([]);
  });

  it('propagates the metadata of a call only to its own outbound calls, with many concurrent calls on one connection', async () => {
    const ids = Array.from({ length: 60 }, (_, index) => `${WAYS[index % WAYS.length]!}:${index}`);
    await Promise.all(ids.map((id) => get(id, { timeoutMs: TIMEOUT_MS, metadata: { 'x-request-id': id } })));
    expect(seen.length).toBeGreaterThan(60);
    for (const call of seen) expect(call.metadata.get('x-request-id')).toEqual([call.request.id]);
  });

  it('cancels a relayed stream when the inbound caller cancels', async () => {
    server.script('Watch', { messages: [{ sequence: '1' }], never: true });
    const stream = app.orders.watch({ from: '0' })[Symbol.asyncIterator]();
    await stream.next();
    await stream.return?.();
    await waitFor(() => server.counts('Watch').open === 0);
  });

  it('resumes concurrent relayed streams on one connection, each with its own cursor and metadata', async () => {
    const cursors = new Map<string, string[]>();
    server.script<{ from: { toString: () => string } }>('Watch', ({ request: { from }, metadata }) => {
      const id = String(metadata.get('x-request-id')[0]);
      cursors.set(id, [...(cursors.get(id) ?? []), String(from)]);
      return { messages: [{ sequence: String(Number(from) + 1) }], never: true };
    });
    const streams = Array.from({ length: 20 }, (_, index) => {
      const stream = { received: 0, controller: new AbortController() };
      const options = { metadata: { 'x-request-id': `r-${String(index)}` }, signal: stream.controller.signal };
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
    expect(Object.fromEntries(cursors)).toEqual(Object.fromEntries(expected));
    // Cancelling a caller's call must cancel only the stream that is relayed to this call.
    for (const { controller } of streams.slice(1)) controller.abort();
    await waitFor(() => server.counts('Watch').open === 1);
    streams[0]!.controller.abort();
    await waitFor(() => server.counts('Watch').open === 0);
  });

  it.each(['plain', 'background'])(
    'does not cancel outbound calls when the inbound call completes (form of the call: %s)',
    async (way) => {
      server.script<{ id: string }>('Get', ({ request }) => ({ message: request, delayMs: 30 }));
      await get(`${way}:1`);
      await waitFor(() => server.counts('Get').answered === 1);
      expect(server.counts('Get').cancelled).toBe(0);
    },
  );
});

describe('inbound HTTP request', () => {
  it.each([
    ['a handler', 'plain:1', undefined],
    ['a handler with RxJS operators', 'operators:1', undefined],
    ['a guard', 'guarded/plain:1', undefined],
    [
      'a handler of a request with a body',
      'awaited:1',
      { method: 'POST', body: JSON.stringify({ text: 'x'.repeat(50_000) }) },
    ],
  ] as const)('propagates the deadline and headers of an HTTP request to the calls of %s', async (_, path, init) => {
    const headers = { 'grpc-timeout': `${TIMEOUT_MS}m`, 'x-request-id': 'r-2', 'content-type': 'application/json' };
    expect(await send(hop, path, { ...init, headers })).toBeLessThan(300);
    expect(seen.length).toBeGreaterThan(path.startsWith('guarded') || path.startsWith('awaited') ? 1 : 0);
    for (const call of seen) {
      expect(remaining(call)).toBeLessThan(TIMEOUT_MS);
      expect(call.metadata.get('x-request-id')).toEqual(['r-2']);
    }
  });

  it('ignores an invalid grpc-timeout header of an HTTP request', async () => {
    await send(hop, 'plain:1', { headers: { 'grpc-timeout': 'soon' } });
    expect(seen[0]?.deadline).toBe(Infinity);
  });

  it('cancels outbound calls when the HTTP client disconnects', async () => {
    await expectDisconnectCancels(hop, server);
  });

  it('does not cancel outbound calls that continue after the HTTP response', async () => {
    server.script<{ id: string }>('Get', ({ request }) => ({ message: request, delayMs: 30 }));
    expect(await send(hop, 'background:1')).toBe(200);
    await waitFor(() => server.counts('Get').answered === 1);
    expect(server.counts('Get').cancelled).toBe(0);
  });

  it('ignores retry headers of HTTP clients', async () => {
    await send(hop, 'plain:1', { headers: { 'x-retry-chain': '1', 'grpc-previous-rpc-attempts': '2' } });
    expect(seen[0]?.metadata.get('x-retry-chain')).toEqual([]);
  });
});
