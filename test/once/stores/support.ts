import pg from 'pg';
import { PostgresOnceStore } from 'nestjs-resilient-grpc/server';
import { onTestFinished } from 'vitest';
import type { ConnectionOptions } from '../../support/postgres.js';

export const LIMITS = { leaseMs: 15_000, ttlMs: 600_000 };
/** With them, a lease is over as soon as it begins. */
export const OVER = { ...LIMITS, leaseMs: 0 };
export const HASH = '0123456789abcdef0123456789abcdef';

/** Returns the first attempt of `owner`. */
export const attemptOf = (owner: string) =>
  ({ type: 'attempt', hash: HASH, owner, before: Infinity, scope: undefined }) as const;

/** Opens a pool of 10 connections that ends after the test. `settings` are those of the sessions, such as '-c search_path=public'. */
export function poolTo(connection: ConnectionOptions, settings?: string): pg.Pool {
  const pool = new pg.Pool({ ...connection, max: 10, ...(settings !== undefined && { options: settings }) });
  // Lost by a restart of the server.
  pool.on('error', () => undefined);
  onTestFinished(() => pool.end());
  return pool;
}

/** Drops and creates the tables of keys, and of orders, in which handlers write. */
export async function createTables(pool: pg.Pool): Promise<void> {
  await pool.query(`DROP TABLE IF EXISTS once_keys, once_keys_renewals, orders;
    ${PostgresOnceStore.schema()}
    CREATE TABLE orders (item text NOT NULL);`);
}

export async function ordersIn(pool: pg.Pool): Promise<readonly string[]> {
  const { rows } = await pool.query<{ item: string }>('SELECT item FROM orders ORDER BY item');
  return rows.map(({ item }) => item);
}

/** A transaction of a handler. */
export interface HandlerTransaction {
  readonly client: pg.PoolClient;
  /** Commits, and returns true if the database did; false if it has rolled back, or fails. */
  commit(): Promise<boolean>;
}

/** Begins the transaction of a handler, which has already written its order. It ends after the test. */
export async function handlerIn(pool: pg.Pool, item: string): Promise<HandlerTransaction> {
  const client = await pool.connect();
  let isOpen = true;
  const release = (error?: boolean) => {
    if (isOpen) client.release(error);
    isOpen = false;
  };
  // Before the pool ends.
  onTestFinished(() => {
    release(true);
  });
  if (client.listenerCount('error') === 0) client.on('error', () => undefined);
  await client.query('BEGIN');
  await client.query('INSERT INTO orders VALUES ($1)', [item]);
  return {
    client,
    commit: async () => {
      try {
        const { command } = await client.query('COMMIT');
        release();
        return command === 'COMMIT';
      } catch {
        release(true);
        return false;
      }
    },
  };
}
