import fc from 'fast-check';
import { nextOnce, PostgresOnceStore, type OnceEvent, type OnceRecord } from 'nestjs-resilient-grpc/server';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Postgres } from '../../support/postgres.js';
import { isInstalled, skipWithout } from '../../support/programs.js';
import { event, plain } from './events.js';
import { createTables, poolTo } from './support.js';

let server: Postgres;

beforeAll(async () => {
  if (isInstalled('PostgreSQL')) server = await Postgres.start();
});
afterAll(async () => {
  await server?.close();
});

/** A clock of the database that the test sets, in a schema that is searched before that of PostgreSQL. */
const CLOCK = `DROP SCHEMA IF EXISTS test_clock CASCADE;
CREATE SCHEMA test_clock;
CREATE TABLE test_clock.clock (ms bigint);
INSERT INTO test_clock.clock VALUES (0);
CREATE FUNCTION test_clock.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE
  AS 'SELECT to_timestamp(ms / 1000.0) FROM test_clock.clock';`;
const STARTS_AT = 1_700_000_000_000;

const step = fc.record({
  event,
  id: fc.constantFrom('a', 'a', 'a', 'b'),
  /** Time since the last event: the lease takes 1 s, and records are kept for 3 s. */
  afterMs: fc.constantFrom(0, 0, 0, 1, 1, 100, 400, 999, 1_000, 2_000, 2_999, 10_000),
});
const limits = fc.constantFrom({ leaseMs: 1_000, ttlMs: 3_000 }, { leaseMs: 3_000, ttlMs: 1_000 });

it.for(['read committed', 'repeatable read', 'serializable'])(
  'replies as the policy does, to any sequence of events, at the isolation level %s',
  async (level, { skip }) => {
    skip(...skipWithout('PostgreSQL'));
    const settings = `-c default_transaction_isolation=${level.replace(' ', '\\ ')}`;
    const admin = poolTo(server.connection);
    await createTables(admin);
    await admin.query(CLOCK);
    const pool = poolTo(server.connection, `${settings} -c search_path=test_clock,pg_catalog,public`);
    const store = new PostgresOnceStore(pool);
    let now = STARTS_AT;
    let runs = 0;
    const kinds = new Map<string, number>();
    await fc.assert(
      fc.asyncProperty(limits, fc.array(step, { minLength: 3, maxLength: 25 }), async (given, steps) => {
        runs += 1;
        now += 1_000_000;
        const records = new Map<string, OnceRecord | undefined>();
        const begun = new Map<string, { readonly hash: string; readonly owner: string }>();
        for (const { event: drawn, id, afterMs } of steps) {
          now += afterMs;
          await admin.query('UPDATE test_clock.clock SET ms = $1', [now]);
          const { scope } = await store.identify();
          const sent: OnceEvent =
            drawn.type === 'attempt'
              ? { ...drawn, before: now + drawn.before, scope: drawn.scope === 'own' ? scope : drawn.scope }
              : drawn;
          const key = `${String(runs)}-${id}`;
          const { record, reply } = nextOnce(records.get(key), sent, { ...given, now, scope, commits: true });
          const what = `${sent.type} → ${reply.is}`;
          kinds.set(what, (kinds.get(what) ?? 0) + 1);
          if (reply.is === 'begin' && sent.type === 'attempt') begun.set(key, sent);
          if (sent.type !== 'commit') {
            expect(plain(await store.apply(key, sent, given))).toEqual(plain(reply));
            records.set(key, record);
            continue;
          }
          const client = await pool.connect();
          try {
            await client.query('BEGIN');
            const committed = await store.commit(client, key, sent.owner, sent.end, given).then(
              () => true,
              () => false,
            );
            await client.query('COMMIT');
            // The row of a record that has expired is there until somebody wants the key, or deletes it in passing; its owner may still commit.
            if (reply.is === 'lost') {
              if (committed) {
                const { hash, owner } = begun.get(key) ?? expect.fail('an owner that has begun nothing has committed');
                expect(owner).toBe(sent.owner);
                records.set(key, { kind: 'done', hash, end: sent.end, expiresAt: now + given.ttlMs });
              }
            } else {
              expect(committed).toBe(reply.is === 'recorded');
              // The doubt that a refused commit notices is rolled back with it.
              if (committed) records.set(key, record);
            }
          } finally {
            client.release();
          }
        }
      }),
      { numRuns: 200 },
    );
    // Each kind of event had more than one kind of reply.
    expect(kinds.size).toBeGreaterThan(25);
  },
);
