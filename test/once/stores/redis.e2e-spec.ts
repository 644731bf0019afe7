import fc from 'fast-check';
import { nextOnce, type OnceEvent, type OnceRecord, type OnceReply } from 'nestjs-resilient-grpc/server';
import { FaultProxy, waitFor } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom } from 'rxjs';
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { closedAfterTest } from '../../support/closed-after-test.js';
import { RedisOnceStore } from '../../../examples/recipes/redis-once-store.js';
import { failureOf } from '../../calls/support.js';
import { skipWithout } from '../../support/programs.js';
import { Redis, redisClientTo, type RedisClient } from '../../support/redis.js';
import { proxyTo, serveWrites, writerTo } from '../support.js';
import { event, plain } from './events.js';
import { attemptOf, LIMITS } from './support.js';

beforeEach(({ skip }) => {
  skip(...skipWithout('Redis'));
});

const TEA = Buffer.from('tea');

async function startRedis(...settings: readonly string[]): Promise<Redis> {
  return closedAfterTest(Redis.start(...settings));
}

async function clientTo(port: number): Promise<RedisClient> {
  const client = await redisClientTo(port);
  onTestFinished(() => {
    client.destroy();
  });
  return client;
}

const storeAt = async ({ port }: { readonly port: number }) => new RedisOnceStore(await clientTo(port));

/** Waits until the client of `store` has connected again, and returns the new scope. */
const scopeOf = (store: RedisOnceStore): Promise<string> =>
  waitFor(
    () =>
      store.identify().then(
        ({ scope }) => scope,
        () => undefined,
      ),
    { timeoutMs: 30_000 },
  );

describe('a store in Redis', () => {
  it('replies as the policy does, to any sequence of events', async () => {
    const store = await storeAt(await startRedis());
    const { scope } = await store.identify();
    let runs = 0;
    // A lease is over at once, or not before the test is.
    const step = fc.record({ event, id: fc.constantFrom('a', 'a', 'b'), leaseMs: fc.constantFrom(0, 15_000, 15_000) });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 3, maxLength: 25 }), async (steps) => {
        runs += 1;
        const records = new Map<string, OnceRecord | undefined>();
        for (const { event: drawn, id, leaseMs } of steps) {
          const { now } = await store.identify();
          const sent: OnceEvent =
            drawn.type === 'attempt'
              ? {
                  ...drawn,
                  before: drawn.before < 0 ? now - 1 : Infinity,
                  scope: drawn.scope === 'own' ? scope : drawn.scope,
                }
              : drawn;
          const limits = { ...LIMITS, leaseMs };
          const { record, reply } = nextOnce(records.get(id), sent, { ...limits, now, scope, commits: false });
          expect(plain(await store.apply(`${String(runs)}-${id}`, sent, limits))).toEqual(plain(reply));
          records.set(id, record);
        }
      }),
      { numRuns: 200 },
    );
  });

  it('lets one of 100 attempts begin, and keeps its end for the others', async () => {
    const redis = await startRedis();
    const stores = await Promise.all([storeAt(redis), storeAt(redis), storeAt(redis)]);
    const { scope, now } = await stores[0].identify();
    expect(scope).toMatch(/^[\da-f]{40}-[\da-f]{40}-[\da-f]{12}$/);
    expect(Math.abs(now - Date.now())).toBeLessThan(60_000);
    const attempt = (n: number) => stores[n % 3]!.apply('key', { ...attemptOf(String(n)), scope }, LIMITS);
    const replies = await Promise.all(Array.from({ length: 100 }, (_, n) => attempt(n)));
    expect(replies.filter(({ is }) => is === 'begin')).toHaveLength(1);
    expect(replies.filter(({ is }) => is === 'running')).toHaveLength(99);
    const owner = String(replies.findIndex(({ is }) => is === 'begin'));
    expect(await stores[1].apply('key', { type: 'renew', owner }, LIMITS)).toEqual({ is: 'recorded' });
    expect(await stores[2].apply('key', { type: 'renew', owner: 'another' }, LIMITS)).toMatchObject({ is: 'running' });
    expect(await stores[0].apply('key', { type: 'end', owner, end: TEA }, LIMITS)).toEqual({ is: 'recorded' });
    expect(await stores[1].apply('key', { type: 'ask', close: true }, LIMITS)).toMatchObject({ is: 'done', end: TEA });
    expect(await attempt(100)).toMatchObject({ is: 'done', end: TEA });
  });

  it('leaves a key in doubt whose process is gone, and takes a released one again', async () => {
    const redis = await startRedis();
    const store = await storeAt(redis);
    await store.apply('dead', attemptOf('one'), { ...LIMITS, leaseMs: 0 });
    expect(await store.apply('dead', attemptOf('two'), LIMITS)).toEqual({ is: 'in-doubt' });
    expect(await store.apply('dead', { type: 'settle', end: undefined }, LIMITS)).toEqual({ is: 'recorded' });
    expect(await store.apply('dead', attemptOf('two'), LIMITS)).toEqual({ is: 'begin' });
    expect(await store.apply('dead', { type: 'release', owner: 'two' }, LIMITS)).toEqual({ is: 'recorded' });
    expect(await store.apply('dead', attemptOf('one'), LIMITS)).toEqual({ is: 'begin' });
  });

  it('deletes a record when it expires', async () => {
    const redis = await startRedis();
    const [store, client] = [await storeAt(redis), await clientTo(redis.port)];
    await store.apply('key', attemptOf('one'), { leaseMs: 100, ttlMs: 50 });
    expect(await client.dbSize()).toBe(2);
    await waitFor(async () => (await client.dbSize()) === 1, { timeoutMs: 30_000 });
    expect(await store.apply('key', { type: 'end', owner: 'one', end: TEA }, LIMITS)).toEqual({ is: 'lost' });
  });

  it('refuses to start unless Redis keeps its keys when its memory is full', async () => {
    const redis = await startRedis('--maxmemory-policy', 'allkeys-lru');
    const store = await storeAt(redis);
    await expect(store.identify()).rejects.toThrow(
      'Redis may evict the keys of writes (allkeys-lru); set maxmemory-policy to noeviction',
    );
    const client = await clientTo(redis.port);
    await client.configSet('maxmemory-policy', 'noeviction');
    await store.identify();
    // Full: nothing begins.
    await client.configSet('maxmemory', '1');
    await expect(store.apply('key', attemptOf('one'), LIMITS)).rejects.toThrow('OOM');
  });

  it.for([
    ['empty', []],
    ['with all its records', ['--appendonly', 'yes', '--appendfsync', 'always']],
  ] as const)('never begins a key again that was begun before a crash, if Redis starts %s', async ([how, settings]) => {
    const redis = await startRedis(...settings);
    const store = await storeAt(redis);
    const { scope } = await store.identify();
    const attempt = { ...attemptOf('one'), scope };
    expect(await store.apply('key', attempt, LIMITS)).toEqual({ is: 'begin' });
    await redis.kill();
    await expect(store.apply('key', attempt, LIMITS)).rejects.toThrow();
    await redis.restart();
    const newScope = await scopeOf(store);
    expect(newScope).not.toBe(scope);
    for (const owner of ['one', 'two'])
      expect(await store.apply('key', { ...attempt, owner }, LIMITS)).toEqual({ is: 'elsewhere' });
    // One that has not run before, and learns the new scope.
    const fresh = await store.apply('key', { ...attempt, owner: 'two', scope: newScope }, LIMITS);
    expect(fresh).toMatchObject({ is: how === 'empty' ? 'begin' : 'running' });
  });

  it('never begins a key again that was begun before its records were flushed', async () => {
    const redis = await startRedis();
    const store = await storeAt(redis);
    const attempt = { ...attemptOf('one'), scope: (await store.identify()).scope };
    expect(await store.apply('key', attempt, LIMITS)).toEqual({ is: 'begin' });
    await (await clientTo(redis.port)).flushAll();
    expect(await store.apply('key', { ...attempt, owner: 'two' }, LIMITS)).toEqual({ is: 'elsewhere' });
  });

  it('does not begin a key if Redis restarts between the two steps of an attempt', async () => {
    const redis = await startRedis();
    const client = await clientTo(redis.port);
    const { scope } = await new RedisOnceStore(client).identify();
    let steps = 0;
    const store = new RedisOnceStore({
      info: (section) => client.info(section),
      eval: async (script, options) => {
        steps += 1;
        if (steps === 2) {
          await redis.restart();
          await waitFor(() => client.isReady);
        }
        return client.eval(script, options);
      },
    });
    expect(await store.apply('key', { ...attemptOf('one'), scope }, LIMITS)).toEqual({ is: 'elsewhere' });
    expect(steps).toBe(2);
    expect(await client.dbSize()).toBe(1);
  });

  it('never begins a key again that was begun before a replica took over which lags', async () => {
    const primary = await startRedis('--repl-diskless-sync-delay', '0');
    const proxy = await closedAfterTest(FaultProxy.start(`127.0.0.1:${String(primary.port)}`));
    const replica = await startRedis('--replicaof', '127.0.0.1', String(proxy.port));
    const [onPrimary, onReplica] = [await storeAt(primary), await storeAt(replica)];
    const [atPrimary, atReplica] = [await clientTo(primary.port), await clientTo(replica.port)];
    const isSynced = async (of: RedisClient) => (await of.info('replication')).includes('master_link_status:up');
    await waitFor(() => isSynced(atReplica), { timeoutMs: 60_000 });
    const { scope } = await onPrimary.identify();
    const attempt = { ...attemptOf('one'), scope };
    expect(await onPrimary.apply('arrived', attempt, LIMITS)).toEqual({ is: 'begin' });
    await waitFor(async () => (await atReplica.dbSize()) === 2, { timeoutMs: 30_000 });
    proxy.holdBytes('to-client');
    expect(await onPrimary.apply('lagging', attempt, LIMITS)).toEqual({ is: 'begin' });
    // Nothing begins on a replica.
    await expect(onReplica.apply('other', attemptOf('two'), LIMITS)).rejects.toThrow('READONLY');

    await atReplica.replicaOf('NO', 'ONE' as never);
    expect(await atReplica.dbSize()).toBe(2);
    const replies: OnceReply[] = [];
    for (const id of ['arrived', 'lagging'])
      replies.push(await onReplica.apply(id, { ...attempt, owner: 'two' }, LIMITS));
    expect(replies).toEqual([{ is: 'elsewhere' }, { is: 'elsewhere' }]);

    // The old primary loses the key as a replica of the new one, and takes over again, without a restart.
    await atPrimary.replicaOf('127.0.0.1', replica.port);
    await waitFor(() => isSynced(atPrimary), { timeoutMs: 60_000 });
    expect(await atPrimary.dbSize()).toBe(2);
    await atPrimary.replicaOf('NO', 'ONE' as never);
    expect(await onPrimary.apply('lagging', attempt, LIMITS)).toEqual({ is: 'elsewhere' });
  });
});

describe('servers with a store in Redis', () => {
  async function serveTwo() {
    const redis = await startRedis();
    const stores = [await storeAt(redis), await storeAt(redis)] as const;
    const [one, two] = [await serveWrites({ store: stores[0] }), await serveWrites({ store: stores[1] })];
    const restart = async () => {
      await redis.restart();
      for (const store of stores) await scopeOf(store);
    };
    return { one, two, restart };
  }

  it('leave a write in doubt that was done before Redis lost it', async () => {
    const { one, two, restart } = await serveTwo();
    const proxy = await proxyTo(one.url);
    const { orders } = await writerTo(proxy.url);
    const create = (item: string) => orders.create({ requestId: '', item, quantity: 1 });
    await firstValueFrom(create('first'));
    proxy.holdBytes('to-client');
    const lost = failureOf(create('lost'));
    await waitFor(() => one.done.includes('lost'));
    await restart();
    proxy.retarget(two.url);
    proxy.resetAll();
    proxy.releaseBytes();
    expect(await lost).toMatchObject({
      reachedServer: 'maybe',
      details: expect.stringContaining('may have done the write'),
    });
    expect([...one.done, ...two.done]).toEqual(['first', 'lost']);
    // Others learn the new scope.
    expect(await firstValueFrom(create('next'))).toMatchObject({ item: 'next' });
  });

  it('send an answer that was lost with a server', async () => {
    const { one, two } = await serveTwo();
    const proxy = await proxyTo(one.url);
    const { orders } = await writerTo(proxy.url);
    const create = (item: string) => orders.create({ requestId: '', item, quantity: 1 });
    await firstValueFrom(create('first'));
    proxy.holdBytes('to-client');
    const lost = firstValueFrom(create('lost'));
    await waitFor(() => one.done.includes('lost'));
    proxy.retarget(two.url);
    proxy.resetAll();
    proxy.releaseBytes();
    expect(await lost).toMatchObject({ item: 'lost', sequence: '2' });
    expect([...one.done, ...two.done]).toEqual(['first', 'lost']);
  });

  it('all learn of a restart, so that writes have keys as before', async () => {
    const { one, two, restart } = await serveTwo();
    const keys: (string | undefined)[] = [];
    for (const server of [one, two])
      server.handler = ({ item }, key) => {
        keys.push(key);
        return { item };
      };
    const { orders } = await writerTo(`ipv4:${one.url},${two.url}`, { once: true }, { loadBalancing: 'round_robin' });
    const create = () => firstValueFrom(orders.create({ requestId: '', item: 'tea', quantity: 1 }));
    for (let n = 0; n < 4; n += 1) await create();
    await restart();
    for (let n = 0; n < 10; n += 1) await create();
    expect(keys.filter((key) => key === undefined)).toEqual([]);
    expect(keys).toHaveLength(14);
  });
});
