import { GrpcException, PostgresOnceStore } from 'nestjs-resilient-grpc/server';
import { waitFor } from 'nestjs-resilient-grpc/testing';
import { afterAll, beforeAll, beforeEach, expect, it, onTestFinished, vi } from 'vitest';
import { Postgres } from '../../support/postgres.js';
import { failureOf } from '../../calls/support.js';
import { isInstalled, skipWithout } from '../../support/programs.js';
import { serveWrites, writerTo } from '../support.js';
import { attemptOf, createTables, handlerIn, HASH, LIMITS, ordersIn, OVER, poolTo } from './support.js';

let server: Postgres;

beforeAll(async () => {
  if (isInstalled('PostgreSQL')) server = await Postgres.start();
});
afterAll(async () => {
  await server?.close();
});
beforeEach(({ skip }) => {
  skip(...skipWithout('PostgreSQL'));
});

const TEA = Buffer.from('tea');

/** Waits until the server has ended the connections of a pool, and the pool has opened one again. */
const answers = (query: () => Promise<unknown>) =>
  waitFor(
    () =>
      query().then(
        () => true,
        () => false,
      ),
    { timeoutMs: 30_000 },
  );

it('has the scope and the time of the database, and says which table is missing', async () => {
  const pool = poolTo(server.connection);
  await createTables(pool);
  const [one, two] = [new PostgresOnceStore(pool), new PostgresOnceStore(poolTo(server.connection))];
  const { scope, now } = await one.identify();
  expect(scope).toMatch(/^[\da-f-]{36}$/);
  expect(Math.abs(now - Date.now())).toBeLessThan(60_000);
  expect(await two.identify()).toMatchObject({ scope });
  await pool.query(PostgresOnceStore.schema());
  expect(await two.identify()).toMatchObject({ scope });

  await pool.query('DELETE FROM once_keys');
  await expect(one.identify()).rejects.toThrow('no table once_keys with a scope; add PostgresOnceStore.schema()');
  await expect(one.apply('key', attemptOf('one'), LIMITS)).rejects.toThrow(
    'once_keys has lost its scope; nothing has run',
  );
  await pool.query(PostgresOnceStore.schema());
  expect((await one.identify()).scope).not.toBe(scope);
  await pool.query('DROP TABLE once_keys');
  await expect(one.identify()).rejects.toThrow('no table once_keys with a scope; add PostgresOnceStore.schema()');
});

it('refuses a replica, whose time and scope say nothing of the primary', async () => {
  const replica = { now: '0', scope: 'scope', problem: 'on a replica' };
  const store = new PostgresOnceStore({ query: () => Promise.resolve({ rows: [replica], rowCount: 1 }) });
  await expect(store.identify()).rejects.toThrow('once_keys is on a replica; PostgresOnceStore needs the primary');
});

it('takes a table in a schema, and no name that would need quotes or be cut off', async () => {
  const pool = poolTo(server.connection);
  const longest = `shop.${'w'.repeat(42)}`;
  await pool.query(`DROP SCHEMA IF EXISTS shop CASCADE; CREATE SCHEMA shop; ${PostgresOnceStore.schema(longest)}`);
  expect((await pool.query(`SELECT FROM pg_indexes WHERE schemaname = 'shop'`)).rowCount).toBe(4);
  const store = new PostgresOnceStore(pool, { table: longest });
  expect(await store.apply('key', attemptOf('one'), LIMITS)).toEqual({ is: 'begin' });
  expect((await pool.query('SELECT FROM ' + longest)).rowCount).toBe(2);
  for (const table of ['', 'a b', 'a"b', 'a.b.c', 'a; DROP TABLE b', '1a', `${longest}w`])
    expect(() => new PostgresOnceStore(pool, { table })).toThrow(TypeError);
});

it('begins in one statement, and has the answer after the commit in one', async () => {
  const pool = poolTo(server.connection);
  await createTables(pool);
  let statements = 0;
  const store = new PostgresOnceStore({
    query: (text, values) => {
      if (!text.includes('DELETE')) statements += 1;
      return pool.query(text, values);
    },
  });
  await store.apply('key', attemptOf('one'), LIMITS);
  expect(statements).toBe(1);
  const handler = await handlerIn(pool, 'tea');
  await store.commit(handler.client, 'key', 'one', TEA, LIMITS);
  await handler.commit();
  expect(await store.apply('key', { type: 'end', owner: 'one', end: TEA }, LIMITS)).toMatchObject({
    is: 'done',
    end: TEA,
  });
  expect(statements).toBe(2);
});

it('deletes expired rows in passing, without a pause while there are many, but none of a handler that runs', async () => {
  const pool = poolTo(server.connection);
  await createTables(pool);
  const store = new PostgresOnceStore(pool);
  await pool.query(`INSERT INTO once_keys (id, kind, hash, owner, expires_at) VALUES ('long', 'running', '', 'one', 0);
    INSERT INTO once_keys_renewals VALUES ('long', 'one', 9223372036854775807, 0), ('dead', 'one', 0, 0);
    INSERT INTO once_keys (id, kind, hash, expires_at) SELECT n::text, 'done', '', n FROM generate_series(1, 1200) n`);
  // No pause ever ends.
  const clock = vi.spyOn(performance, 'now').mockReturnValue(0);
  onTestFinished(() => {
    clock.mockRestore();
  });
  await store.apply('key', attemptOf('one'), LIMITS);
  while ((await pool.query('SELECT FROM once_keys')).rowCount !== 3)
    await store.apply('other', { type: 'ask', close: false }, LIMITS);
  const { rows } = await pool.query('SELECT id FROM once_keys UNION ALL SELECT id FROM once_keys_renewals ORDER BY id');
  expect(rows).toEqual(['', 'key', 'long', 'long'].map((id) => ({ id })));
});

it.for([
  ['renewed', { is: 'running', own: false }],
  ['done', { is: 'done', hash: HASH, end: TEA }],
  ['taken over', { is: 'running', own: false }],
  ['released', { is: 'begin' }],
  ['deleted', { is: 'begin' }],
] as const)('decides anew if a key that it takes over is %s meanwhile', async ([how, reply]) => {
  const pool = poolTo(server.connection);
  await createTables(pool);
  const other = new PostgresOnceStore(pool);
  await other.apply('key', attemptOf('one'), OVER);
  const change = async () => {
    if (how === 'renewed') await other.apply('key', { type: 'renew', owner: 'one' }, LIMITS);
    if (how === 'done') await other.commit({ query: pool.query.bind(pool) }, 'key', 'one', TEA, LIMITS);
    if (how === 'taken over') await other.apply('key', attemptOf('three'), LIMITS);
    if (how === 'released') await other.apply('key', { type: 'release', owner: 'one' }, LIMITS);
    if (how === 'deleted') await pool.query("DELETE FROM once_keys WHERE id = 'key'");
  };
  let changed: Promise<void> | undefined;
  const store = new PostgresOnceStore({
    query: async (text, values) => {
      // Its second statement.
      if (text.includes('UPDATE once_keys SET')) await (changed ??= change());
      return pool.query(text, values);
    },
  });
  expect(await store.apply('key', attemptOf('two'), LIMITS)).toEqual(reply);
  expect(changed).toBeDefined();
});

it('releases a key whose lease is renewed meanwhile', async () => {
  const pool = poolTo(server.connection);
  await createTables(pool);
  const other = new PostgresOnceStore(pool);
  await other.apply('key', attemptOf('one'), { ...LIMITS, leaseMs: 10_000 });
  let renewed: Promise<unknown> | undefined;
  const store = new PostgresOnceStore({
    query: async (text, values) => {
      if (text.includes('DELETE FROM once_keys WHERE id = $1'))
        await (renewed ??= other.apply('key', { type: 'renew', owner: 'one' }, LIMITS));
      return pool.query(text, values);
    },
  });
  expect(await store.apply('key', { type: 'release', owner: 'one' }, LIMITS)).toEqual({ is: 'recorded' });
  expect(renewed).toBeDefined();
  expect(await store.apply('key', { type: 'ask', close: false }, LIMITS)).toEqual({ is: 'unknown' });
});

it('fails to begin while the server is down, and runs nothing twice after a crash', async () => {
  const pool = poolTo(server.connection);
  await createTables(pool);
  const store = new PostgresOnceStore(pool);
  for (const id of ['begun', 'written', 'committed', 'repeated']) await store.apply(id, attemptOf('one'), LIMITS);
  const [written, committed, repeated] = [
    await handlerIn(pool, 'written'),
    await handlerIn(pool, 'committed'),
    await handlerIn(pool, 'repeated'),
  ];
  for (const [id, { client }] of Object.entries({ written, committed, repeated }))
    await store.commit(client, id, 'one', TEA, LIMITS);
  expect(await committed.commit()).toBe(true);

  const restarted = server.restart();
  await expect(
    (async () => {
      for (;;) await store.apply('down', { type: 'ask', close: false }, LIMITS);
    })(),
  ).rejects.toThrow();
  await restarted;
  await answers(() => store.identify());

  expect(await written.commit()).toBe(false);
  const attempt = async (id: string) => store.apply(id, attemptOf('one'), LIMITS);
  // Of the same process, which has not learnt whether it has begun them.
  for (const id of ['begun', 'written', 'repeated']) expect(await attempt(id)).toEqual({ is: 'running', own: true });
  expect(await attempt('committed')).toMatchObject({ is: 'done', end: TEA });
  const again = await handlerIn(pool, 'repeated');
  await store.commit(again.client, 'repeated', 'one', TEA, LIMITS);
  expect(await again.commit()).toBe(true);
  expect(await repeated.commit()).toBe(false);
  expect(await ordersIn(pool)).toEqual(['committed', 'repeated']);
});

it('refuses a commit outside of the transaction of a handler', async () => {
  const pool = poolTo(server.connection);
  await createTables(pool);
  const store = new PostgresOnceStore(pool);
  await store.apply('key', attemptOf('one'), LIMITS);
  const commit = (client: unknown) => store.commit(client, 'key', 'one', TEA, LIMITS);
  const handler = await handlerIn(pool, 'tea');
  await handler.client.query('COMMIT');
  for (const client of [pool, handler.client]) await expect(commit(client)).rejects.toThrow('between its BEGIN and');
  expect(await store.apply('key', attemptOf('two'), LIMITS)).toMatchObject({ is: 'running' });
});

it('closes a key whose process is gone, so that its handler cannot commit any more', async () => {
  const pool = poolTo(server.connection);
  await createTables(pool);
  const store = new PostgresOnceStore(pool);
  await store.apply('key', attemptOf('one'), OVER);
  expect(await store.apply('key', { type: 'ask', close: false }, LIMITS)).toEqual({ is: 'unknown' });
  expect(await store.apply('key', { type: 'ask', close: true }, LIMITS)).toEqual({ is: 'closed' });
  const frozen = await handlerIn(pool, 'frozen');
  await expect(store.commit(frozen.client, 'key', 'one', TEA, LIMITS)).rejects.toThrow('taken over');
  expect(await frozen.commit()).toBe(false);
  expect(await store.apply('key', attemptOf('two'), LIMITS)).toEqual({ is: 'closed' });
});

it('finds what has expired by its index', async () => {
  const pool = poolTo(server.connection);
  await createTables(pool);
  await pool.query(`INSERT INTO once_keys (id, kind, hash, expires_at)
    SELECT n::text, 'closed', '', 9000000000000 FROM generate_series(1, 50000) n; ANALYZE once_keys`);
  let sweep = '';
  const spy: ConstructorParameters<typeof PostgresOnceStore>[0] = {
    query: async (text, values) => {
      if (text.includes('SKIP LOCKED') && values === undefined) sweep = text;
      return pool.query(text, values);
    },
  };
  await new PostgresOnceStore(spy).apply('key', { type: 'ask', close: false }, LIMITS);
  const { rows } = await pool.query<Record<string, string>>(`EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) ${sweep}`);
  const plan = rows.map((row) => row['QUERY PLAN']).join('\n');
  expect(plan).toMatch(/Index Scan using once_keys_expires_at.*rows=0/);
  expect(plan).not.toMatch(/rows=[1-9]\d{3}/);
});

it('refuses the commit of a handler that has already ended', async () => {
  const pool = poolTo(server.connection);
  await createTables(pool);
  const writes = await serveWrites({ store: new PostgresOnceStore(pool) });
  const { orders } = await writerTo(writes.url);
  const left: Promise<unknown>[] = [];
  writes.handler = async ({ item }, _key, once) => {
    const handler = await handlerIn(pool, item);
    // A handler that gives up, and leaves its transaction behind.
    const leave = async () => {
      await waitFor(() => hasFailed);
      await once.commit(handler.client, { item });
    };
    left.push(leave().finally(() => handler.client.query('ROLLBACK')));
    throw new GrpcException('ABORTED', 'too slow');
  };
  let hasFailed = false;
  await failureOf(orders.create({ requestId: '', item: 'tea', quantity: 1 }));
  hasFailed = true;
  for (const one of left) await expect(one).rejects.toThrow('once.commit() came after the handler had ended');
  expect(left.length).toBeGreaterThan(0);
  expect(await ordersIn(pool)).toEqual([]);
});
