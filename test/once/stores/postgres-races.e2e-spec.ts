import type pg from 'pg';
import { PostgresOnceStore, type OnceReply } from 'nestjs-resilient-grpc/server';
import { ChildServer, waitFor } from 'nestjs-resilient-grpc/testing';
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { PgBouncer, Postgres, type ConnectionOptions } from '../../support/postgres.js';
import { isInstalled, skipWithout } from '../../support/programs.js';
import { attemptOf, createTables, handlerIn, HASH, LIMITS, OVER, ordersIn, poolTo } from './support.js';

let server: Postgres;
let bouncer: PgBouncer;

beforeAll(async () => {
  if (isInstalled('PostgreSQL')) server = await Postgres.start();
  if (isInstalled('PostgreSQL') && isInstalled('PgBouncer')) bouncer = await PgBouncer.start(server.connection);
});
afterAll(async () => {
  await bouncer?.close();
  await server?.close();
});

const TEA = Buffer.from('tea');
const PROCESS = new URL('./frozen-handler.mjs', import.meta.url);

const levels = ['read committed', 'repeatable read', 'serializable'] as const;
type Way = (typeof levels)[number] | 'PgBouncer';

/** A pool whose sessions have an isolation level, or PgBouncer's, and its store. */
interface Session {
  readonly pool: pg.Pool;
  readonly store: PostgresOnceStore;
  /** A pool to the server, for the test itself. */
  readonly admin: pg.Pool;
}

const settingsOf = (way: Way) =>
  way === 'PgBouncer' ? undefined : `-c default_transaction_isolation=${way.replace(' ', '\\ ')}`;
const connectionOf = (way: Way): ConnectionOptions => (way === 'PgBouncer' ? bouncer : server).connection;

async function sessionBy(way: Way): Promise<Session> {
  const admin = poolTo(server.connection);
  await createTables(admin);
  const pool = poolTo(connectionOf(way), settingsOf(way));
  return { admin, pool, store: new PostgresOnceStore(pool) };
}

const kinds = (replies: readonly OnceReply[]): Readonly<Record<string, number>> => {
  const counts: Record<string, number> = {};
  for (const { is } of replies) counts[is] = (counts[is] ?? 0) + 1;
  return counts;
};

/** Starts a process that begins a key and waits in its transaction; it ends after the test. */
async function startHandler(id: string, owner: string, item: string, settings?: string) {
  const child = await ChildServer.start({
    script: PROCESS,
    args: () => [JSON.stringify({ connection: server.connection, hash: HASH, id, owner, item, settings })],
    ready: /never/,
  });
  onTestFinished(() => child.close());
  const has = (wanted: object) =>
    waitFor(() => child.messages.find((one) => JSON.stringify(one).includes(JSON.stringify(wanted).slice(1, -1))), {
      timeoutMs: 30_000,
      describe: () => `${JSON.stringify(wanted)}; got ${JSON.stringify(child.messages)} ${child.output.join('\n')}`,
    });
  const ended = () =>
    waitFor(() => child.messages.find((one) => 'error' in (one as object) || 'command' in (one as object)), {
      timeoutMs: 30_000,
    });
  return { child, has, ended };
}

describe.for<Way>([...levels, 'PgBouncer'])('a store by %s', (way) => {
  beforeEach(({ skip }) => {
    skip(...skipWithout('PostgreSQL', ...(way === 'PgBouncer' ? (['PgBouncer'] as const) : [])));
  });

  it('lets one of 100 attempts of a key begin', async () => {
    const { store } = await sessionBy(way);
    const attempt = (_: unknown, n: number) => store.apply('key', attemptOf(String(n)), LIMITS);
    expect(kinds(await Promise.all(Array.from({ length: 100 }, attempt)))).toEqual({ begin: 1, running: 99 });
  });

  it('lets one of 100 attempts take a key over', async () => {
    const { store } = await sessionBy(way);
    await store.apply('key', attemptOf('dead'), OVER);
    const attempt = (_: unknown, n: number) => store.apply('key', attemptOf(String(n)), LIMITS);
    expect(kinds(await Promise.all(Array.from({ length: 100 }, attempt)))).toEqual({ begin: 1, running: 99 });
  });

  it('begins 100 keys at once, and ends them', async () => {
    const { store, pool, admin } = await sessionBy(way);
    let failures = 0;
    const write = async (_: unknown, n: number) => {
      const [id, owner] = [`key-${String(n)}`, 'one'];
      const failed = () => {
        failures += 1;
      };
      // As the server does, and the caller that repeats a call which has not run.
      for (;;) {
        const reply = await store.apply(id, attemptOf(owner), LIMITS).catch(failed);
        if (reply?.is === 'done') return;
        if (reply === undefined) continue;
        const handler = await handlerIn(pool, id);
        // A transaction may fail that other ones would make impossible to serialize.
        await store.commit(handler.client, id, owner, TEA, LIMITS).catch(failed);
        const event = (await handler.commit())
          ? ({ type: 'end', owner, end: TEA } as const)
          : ({ type: 'release', owner } as const);
        const { is } = (await store.apply(id, event, LIMITS).catch(failed)) ?? { is: 'lost' };
        if (is === 'done') return;
      }
    };
    await Promise.all(Array.from({ length: 100 }, write));
    const orders = await ordersIn(admin);
    expect(new Set(orders).size).toBe(100);
    expect(orders).toHaveLength(100);
    if (way !== 'serializable') expect(failures).toBe(0);
  });

  it('lets one of two transactions commit that end at once', async () => {
    const { store, pool, admin } = await sessionBy(way);
    for (let n = 0; n < 20; n += 1) {
      const id = `key-${String(n)}`;
      await store.apply(id, attemptOf('one'), LIMITS);
      const handlers = [await handlerIn(pool, id), await handlerIn(pool, id)];
      const won = await Promise.all(
        handlers.map(async ({ client, commit }) => {
          const error: unknown = await store.commit(client, id, 'one', TEA, LIMITS).catch((given: unknown) => given);
          // Even a handler that ignores the error does not commit.
          return { didCommit: await commit(), error };
        }),
      );
      expect(won.map(({ didCommit }) => didCommit).sort()).toEqual([false, true]);
      expect(won.filter(({ error }) => error !== undefined)).toHaveLength(1);
    }
    expect(new Set(await ordersIn(admin)).size).toBe(20);
    expect(await ordersIn(admin)).toHaveLength(20);
  });

  it('does not wait for a transaction that holds the key', async () => {
    const { store, pool } = await sessionBy(way);
    await store.apply('key', attemptOf('one'), OVER);
    const handler = await handlerIn(pool, 'tea');
    await store.commit(handler.client, 'key', 'one', TEA, LIMITS);
    expect(await store.apply('key', attemptOf('two'), LIMITS)).toEqual({ is: 'running', own: false });
    expect(await store.apply('key', { type: 'ask', close: true }, LIMITS)).toEqual({ is: 'running', own: false });
    await expect(store.apply('key', { type: 'release', owner: 'one' }, LIMITS)).rejects.toThrow('has not ended');
    expect(await store.apply('key', { type: 'renew', owner: 'one' }, LIMITS)).toEqual({ is: 'recorded' });
    expect(await store.apply('key', attemptOf('two'), LIMITS)).toEqual({ is: 'running', own: false });
    await handler.commit();
    expect(await store.apply('key', attemptOf('two'), LIMITS)).toMatchObject({ is: 'done', end: TEA });
  });

  it('lets another process begin after a transaction that held the key has rolled back', async () => {
    const { store, pool, admin } = await sessionBy(way);
    await store.apply('key', attemptOf('one'), OVER);
    const handler = await handlerIn(pool, 'tea');
    await store.commit(handler.client, 'key', 'one', TEA, LIMITS);
    await handler.client.query('ROLLBACK');
    expect(await store.apply('key', attemptOf('two'), LIMITS)).toEqual({ is: 'begin' });
    expect(await ordersIn(admin)).toEqual([]);
  });

  it('lets a handler commit whose lease was renewed during its transaction', async () => {
    const { store, pool, admin } = await sessionBy(way);
    await store.apply('key', attemptOf('one'), LIMITS);
    const handler = await handlerIn(pool, 'tea');
    // Its snapshot is older than all that follows.
    await handler.client.query('SELECT count(*) FROM once_keys');
    for (let n = 0; n < 3; n += 1)
      expect(await store.apply('key', { type: 'renew', owner: 'one' }, LIMITS)).toEqual({ is: 'recorded' });
    expect(await store.apply('key', attemptOf('two'), LIMITS)).toEqual({ is: 'running', own: false });
    await store.commit(handler.client, 'key', 'one', TEA, LIMITS);
    await store.apply('key', { type: 'renew', owner: 'one' }, LIMITS);
    expect(await handler.commit()).toBe(true);
    expect(await ordersIn(admin)).toEqual(['tea']);
  });

  it.for(['taken over', 'done by another', 'released', 'deleted', 'settled'] as const)(
    'makes the database refuse a transaction that began before its key was %s',
    async (how) => {
      const { store, pool, admin } = await sessionBy(way);
      await store.apply('key', attemptOf('one'), OVER);
      const handler = await handlerIn(pool, 'late');
      await handler.client.query('SELECT count(*) FROM once_keys');
      if (how === 'taken over' || how === 'done by another')
        expect(await store.apply('key', attemptOf('two'), LIMITS)).toEqual({ is: 'begin' });
      if (how === 'done by another') {
        const other = await handlerIn(pool, 'tea');
        await store.commit(other.client, 'key', 'two', TEA, LIMITS);
        expect(await other.commit()).toBe(true);
      }
      if (how === 'released') await store.apply('key', { type: 'release', owner: 'one' }, LIMITS);
      if (how === 'settled') await store.apply('key', { type: 'settle', end: TEA }, LIMITS);
      if (how === 'deleted') await admin.query("DELETE FROM once_keys WHERE id <> ''");
      const committing = store.commit(handler.client, 'key', 'one', TEA, LIMITS);
      // PostgreSQL itself finds what has changed since the snapshot of the transaction.
      await expect(committing).rejects.toThrow(
        way === 'repeatable read' || way === 'serializable'
          ? /could not serialize|roll the transaction back/
          : 'Another process has taken over the key, or its answer is already written; roll the transaction back',
      );
      // Although the handler ignores that.
      expect(await handler.commit()).toBe(false);
      expect(await ordersIn(admin)).toEqual(how === 'done by another' ? ['tea'] : []);
    },
  );
});

describe.for(levels)('a process that was frozen, with %s', (level) => {
  beforeEach(({ skip }) => {
    skip(...skipWithout('PostgreSQL'));
  });

  it('cannot commit after another one has', async () => {
    const { store, pool, admin } = await sessionBy(level);
    const frozen = await startHandler('key', 'one', 'frozen', settingsOf(level));
    await frozen.has({ before: 'commit()' });
    frozen.child.freeze();
    expect(await store.apply('key', attemptOf('two'), LIMITS)).toEqual({ is: 'begin' });
    const handler = await handlerIn(pool, 'tea');
    await store.commit(handler.client, 'key', 'two', TEA, LIMITS);
    expect(await handler.commit()).toBe(true);
    frozen.child.thaw();
    frozen.child.send('go on');
    expect(await frozen.ended()).toMatchObject({ error: expect.stringMatching(/roll the transaction back|serialize/) });
    expect(await ordersIn(admin)).toEqual(['tea']);
  });

  it('cannot commit while another one runs', async () => {
    const { store, pool, admin } = await sessionBy(level);
    const frozen = await startHandler('key', 'one', 'frozen', settingsOf(level));
    await frozen.has({ before: 'commit()' });
    frozen.child.freeze();
    expect(await store.apply('key', attemptOf('two'), LIMITS)).toEqual({ is: 'begin' });
    const handler = await handlerIn(pool, 'tea');
    frozen.child.thaw();
    frozen.child.send('go on');
    expect(await frozen.ended()).toMatchObject({ error: expect.stringMatching(/roll the transaction back|serialize/) });
    await store.commit(handler.client, 'key', 'two', TEA, LIMITS);
    expect(await handler.commit()).toBe(true);
    expect(await ordersIn(admin)).toEqual(['tea']);
  });

  it('commits if it wakes up with the key in its transaction, and others then get its answer', async () => {
    const { store, admin } = await sessionBy(level);
    const frozen = await startHandler('key', 'one', 'frozen', settingsOf(level));
    await frozen.has({ before: 'commit()' });
    frozen.child.send('go on');
    await frozen.has({ before: 'COMMIT' });
    frozen.child.freeze();
    expect(await store.apply('key', attemptOf('two'), LIMITS)).toEqual({ is: 'running', own: false });
    frozen.child.thaw();
    frozen.child.send('go on');
    expect(await frozen.ended()).toEqual({ command: 'COMMIT' });
    expect(await store.apply('key', attemptOf('two'), LIMITS)).toMatchObject({ is: 'done' });
    expect(await ordersIn(admin)).toEqual(['frozen']);
  });

  it('gives way to another one when idle_in_transaction_session_timeout ends its transaction', async () => {
    const { store, pool, admin } = await sessionBy(level);
    const frozen = await startHandler(
      'key',
      'one',
      'frozen',
      `${settingsOf(level) ?? ''} -c idle_in_transaction_session_timeout=2000`,
    );
    await frozen.has({ before: 'commit()' });
    frozen.child.send('go on');
    await frozen.has({ before: 'COMMIT' });
    frozen.child.freeze();
    const replies: OnceReply[] = [];
    await waitFor(
      async () => {
        const reply = await store.apply('key', attemptOf('two'), LIMITS);
        replies.push(reply);
        return reply.is === 'begin';
      },
      { timeoutMs: 30_000, intervalMs: 20 },
    );
    expect(kinds(replies)).toMatchObject({ begin: 1, running: replies.length - 1 });
    expect(replies.length).toBeGreaterThan(1);
    const handler = await handlerIn(pool, 'tea');
    await store.commit(handler.client, 'key', 'two', TEA, LIMITS);
    expect(await handler.commit()).toBe(true);
    frozen.child.thaw();
    frozen.child.send('go on');
    expect(await frozen.ended()).toHaveProperty('error');
    expect(await ordersIn(admin)).toEqual(['tea']);
  });
});
