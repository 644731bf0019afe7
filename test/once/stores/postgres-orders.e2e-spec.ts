import type { GrpcCallError } from 'nestjs-resilient-grpc';
import { PostgresOnceStore } from 'nestjs-resilient-grpc/server';
import { waitFor, type ChildServer } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom } from 'rxjs';
import { expect, it, onTestFinished, type TestContext } from 'vitest';
import { Postgres } from '../../support/postgres.js';
import { skipWithout } from '../../support/programs.js';
import { writerTo } from '../support.js';
import { startOrders } from './start-orders.js';
import { poolTo } from './support.js';

const SERVERS = 3;
const FAULTS = 12;
const KINDS = ['kill', 'freeze', 'crash of the database', 'kill'] as const;
/** Orders that are on their way in each fault. */
const ORDERS = 40;

/** Starts a database, and three servers that write there. */
async function startThree(skip: TestContext['skip']) {
  skip(...skipWithout('PostgreSQL'));
  const database = await Postgres.start();
  onTestFinished(() => database.close());
  const pool = poolTo(database.connection);
  await pool.query(`${PostgresOnceStore.schema()}
    CREATE TABLE orders (sequence bigserial PRIMARY KEY, item text NOT NULL);`);
  const start = () => startOrders((port) => ({ port, postgres: database.connection }));
  const servers = await Promise.all(Array.from({ length: SERVERS }, start));
  for (const server of servers) onTestFinished(() => server.close());
  return { database, pool, servers };
}

const urlOf = (servers: readonly ChildServer[]) => `ipv4:${servers.map(({ url }) => url).join(',')}`;

it('runs 100 equal calls at once as one, on three servers with 10 connections each', async ({ skip }) => {
  const { pool, servers } = await startThree(skip);
  const { orders } = await writerTo(urlOf(servers), { once: true }, { loadBalancing: 'round_robin' });
  const create = () => firstValueFrom(orders.create({ requestId: '', item: 'tea', quantity: 1 }, { onceKey: 'tea' }));
  const answers = await Promise.all(Array.from({ length: 100 }, create));
  const { rows } = await pool.query<{ item: string; sequence: string }>('SELECT item, sequence FROM orders');
  expect(rows).toHaveLength(1);
  for (const answer of answers) expect(answer).toMatchObject({ item: 'tea', quantity: 1, sequence: rows[0]?.sequence });
});

it(
  'inserts each order once, although its three servers are killed and frozen, and its database crashes, and returns its own answer',
  { timeout: 240_000 },
  async ({ skip }) => {
    const { database, pool, servers } = await startThree(skip);
    const { client, orders } = await writerTo(
      urlOf(servers),
      { once: true, timeoutMs: 60_000 },
      // A hundred calls that wait until the leases of killed processes end, where production has one.
      { loadBalancing: 'round_robin', serviceConfig: { retryThrottling: { maxTokens: 1_000, tokenRatio: 1 } } },
    );

    const answers = new Map<string, string>();
    const failures = new Map<string, GrpcCallError>();
    const writes: Promise<void>[] = [];
    const write = async (item: string): Promise<void> => {
      try {
        const { sequence } = await firstValueFrom(orders.create({ requestId: '', item, quantity: 1 }));
        answers.set(item, sequence);
      } catch (error) {
        failures.set(item, error as GrpcCallError);
      }
    };
    const isAnswered = (items: readonly string[], count: number) =>
      waitFor(() => items.filter((item) => answers.has(item)).length >= count, { timeoutMs: 60_000 });
    for (let fault = 0; fault < FAULTS; fault += 1) {
      const server = servers[fault % SERVERS]!;
      const items = Array.from({ length: ORDERS }, (_, n) => `order-${String(fault)}-${String(n)}`);
      // Otherwise, all orders may go to one server.
      const isReady = () => client.snapshot().connections.filter(({ state }) => state === 'READY').length === SERVERS;
      await waitFor(() => fault === 0 || isReady(), { timeoutMs: 60_000 });
      const kind = KINDS[fault % KINDS.length];
      if (kind === 'freeze') server.freeze();
      writes.push(...items.map(write));
      // The others answer in any case.
      await isAnswered(items, ORDERS / 4);
      if (kind === 'freeze') server.thaw();
      else if (kind === 'crash of the database') await database.restart();
      else await server.restart();
    }
    await Promise.all(writes);

    const { rows } = await pool.query<{ item: string; sequence: string }>('SELECT item, sequence FROM orders');
    const inserted = new Map(rows.map(({ item, sequence }) => [item, sequence]));
    expect(rows).toHaveLength(inserted.size);
    for (const [item, sequence] of answers) expect(inserted.get(item), item).toBe(sequence);
    for (const [item, { reachedServer }] of failures) if (inserted.has(item)) expect(reachedServer).not.toBe('no');
    // The rest of the calls met more faults than their retry policy takes.
    expect(answers.size).toBeGreaterThan(FAULTS * ORDERS * 0.9);
  },
);
