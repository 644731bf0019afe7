import { status } from '@grpc/grpc-js';
import type { GrpcCallError } from 'nestjs-resilient-grpc';
import { MemoryOnceStore, type OnceStore } from 'nestjs-resilient-grpc/server';
import { waitFor } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom } from 'rxjs';
import { expect, it } from 'vitest';
import { failureOf } from '../calls/support.js';
import { serveWrites, writerTo } from './support.js';

const DONE = { item: 'tea', quantity: 1 };
const TEA = { ...DONE, requestId: '' };

/** A store that a test can take away: it fails then, or does not answer. */
function unsteadyStore(how: 'fails' | 'is silent' = 'fails') {
  const memory = new MemoryOnceStore();
  const state = { isAway: false, refused: 0 };
  const answer = <T>(value: () => T): Promise<T> => {
    if (!state.isAway) return Promise.resolve(value());
    state.refused += 1;
    return how === 'fails' ? Promise.reject(new Error('connection refused')) : new Promise(() => undefined);
  };
  const store: OnceStore = {
    identify: () => answer(() => memory.identify()),
    apply: (...event) => answer(() => memory.apply(...event)),
  };
  return { store, state };
}

it('a write waits for a store that is away for a while, without a repeat of its client', async () => {
  const { store, state } = unsteadyStore();
  const writes = await serveWrites({ store });
  const { orders } = await writerTo(writes.url);
  await firstValueFrom(orders.create(TEA));
  state.isAway = true;
  const calls = [1, 2, 3].map(() => firstValueFrom(orders.create(TEA)));
  // All have been refused, and then one asks for them.
  await waitFor(() => state.refused > 4);
  expect(writes.guarded).toBe(4);
  state.isAway = false;
  expect(await Promise.all(calls)).toMatchObject([DONE, DONE, DONE]);
  expect([writes.done.length, writes.guarded]).toEqual([4, 4]);
});

it('a write fails before it runs, and in time, if its store stays away', async () => {
  const { store, state } = unsteadyStore();
  const writes = await serveWrites({ store });
  const { orders } = await writerTo(writes.url, { once: true, timeoutMs: 2_000 });
  await firstValueFrom(orders.create(TEA));
  state.isAway = true;
  const error = await failureOf(orders.create(TEA));
  expect(error).toMatchObject({ code: status.UNAVAILABLE, reachedServer: 'no' });
  expect(error.details).toContain('connection refused; this attempt has not run');
  expect(writes.done).toEqual(['tea']);
});

it('a store that falls silent holds no key for longer than 10 s', { timeout: 60_000 }, async () => {
  const { store, state } = unsteadyStore('is silent');
  const writes = await serveWrites({ store });
  const { orders } = await writerTo(writes.url);
  await firstValueFrom(orders.create(TEA));
  state.isAway = true;
  const lost = failureOf(orders.create(TEA, { onceKey: 'a', timeoutMs: 500 }));
  await waitFor(() => state.refused === 1);
  state.isAway = false;
  expect(await lost).toMatchObject({ code: status.DEADLINE_EXCEEDED });
  // It joins the one that is stuck, until that counts as failed.
  expect(await firstValueFrom(orders.create(TEA, { onceKey: 'a', timeoutMs: 30_000 }))).toMatchObject(DONE);
  expect(writes.done).toEqual(['tea', 'tea']);
});

it('a store that returns what it was not given does not end the process', async () => {
  const memory = new MemoryOnceStore();
  const store: OnceStore = {
    identify: () => memory.identify(),
    apply: async (id, event, limits) =>
      event.type === 'end' ? ({ is: 'done', hash: undefined } as never) : memory.apply(id, event, limits),
  };
  const writes = await serveWrites({ store });
  const { orders } = await writerTo(writes.url);
  expect(await failureOf(orders.create(TEA))).toMatchObject({ code: status.UNKNOWN, reason: 'in-doubt' });
  expect(writes.done).toEqual(['tea']);
});

it('a handler that has called once.commit() answers only if its transaction was committed', async () => {
  const end: { is: 'done'; hash: string; end: Uint8Array } = { is: 'done', hash: '', end: new Uint8Array() };
  let isCommitted = false;
  const store: OnceStore = {
    commits: true,
    identify: () => ({ scope: 's', now: Date.now() }),
    apply: (_id, event) => {
      if (event.type === 'attempt') end.hash = event.hash;
      if (event.type === 'attempt') return { is: 'begin' };
      return isCommitted ? end : { is: 'recorded' };
    },
    commit: (_client, _id, _owner, bytes) => {
      end.end = bytes;
      return Promise.resolve();
    },
  };
  const writes = await serveWrites({ store });
  writes.handler = async ({ item, quantity }, _key, once) => {
    await once.commit({}, { item, quantity });
    return { item, quantity };
  };
  const { orders } = await writerTo(writes.url);
  const error = await failureOf(orders.create(TEA));
  expect(error).toMatchObject({ code: status.INTERNAL });
  expect(error.details).toContain('its transaction was not committed; nothing was done');
  isCommitted = true;
  expect(await firstValueFrom(orders.create(TEA))).toMatchObject(DONE);
});

it('callers learn the clock of the store anew when it was set', async () => {
  const memory = new MemoryOnceStore();
  let aheadMs = 0;
  const store: OnceStore = {
    identify: () => ({ ...memory.identify(), now: memory.identify().now + aheadMs }),
    apply: (id, event, limits) =>
      memory.apply(id, event.type === 'attempt' ? { ...event, before: event.before - aheadMs } : event, limits),
  };
  const writes = await serveWrites({ store });
  const { orders } = await writerTo(writes.url);
  const create = () => firstValueFrom(orders.create(TEA)).catch((error: unknown) => (error as GrpcCallError).reason);
  await create();
  for (const [byMs, first] of [
    [660_000, 'in-doubt'],
    // An attempt could begin so late that its end is no longer kept: it learns the time before.
    [-660_000, 'tea'],
  ] as const) {
    aheadMs = byMs;
    const [one, ...more] = [await create(), await create(), await create()];
    expect(one).toEqual(first === 'tea' ? expect.objectContaining(DONE) : first);
    expect(more).toMatchObject([DONE, DONE]);
  }
});

it('a memory store keeps answers in their own memory, and one that is too large takes no place from others', () => {
  const store = new MemoryOnceStore({ maxAnswerBytes: 10_000 });
  const limits = { leaseMs: 1_000, ttlMs: 600_000 };
  const end = (id: string, bytes: number) => {
    store.apply(id, { type: 'attempt', hash: 'h', owner: id, before: Infinity, scope: undefined }, limits);
    store.apply(id, { type: 'end', owner: id, end: new Uint8Array(bytes) }, limits);
  };
  const ask = (id: string) => store.apply(id, { type: 'ask', close: false }, limits).is;
  for (const id of ['a', 'b', 'c']) end(id, 1_000);
  end('large', 20_000);
  expect(['a', 'b', 'c', 'large'].map(ask)).toEqual(['done', 'done', 'done', 'in-doubt']);
  for (let n = 0; n < 8; n++) end(String(n), 1_000);
  expect([ask('a'), ask('7')]).toEqual(['in-doubt', 'done']);
});
