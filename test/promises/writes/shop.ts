import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { PostgresOnceStore } from 'nestjs-resilient-grpc/server';
import { FaultProxy, waitFor, type ChildServer } from 'nestjs-resilient-grpc/testing';
import pg from 'pg';
import type { OrdersProcessOptions } from '../../once/stores/orders-process.js';
import { startOrders } from '../../once/stores/start-orders.js';
import { Postgres } from '../../support/postgres.js';
import { Redis, redisClientTo } from '../../support/redis.js';
import { Line } from '../versus/line.js';

export type StoreName = 'PostgreSQL' | 'Redis' | 'memory';

/** An order as it was written: with its answer. */
export interface Written {
  readonly item: string;
  readonly sequence: string;
}

/** Where keys are kept, and orders written. */
interface Store {
  readonly options: Omit<OrdersProcessOptions, 'port'>;
  written(): Promise<readonly Written[]>;
  /** Kills the store, and starts it again after a while; with Redis, it is then empty. */
  restart(downMs: number): Promise<void>;
  /** Lets a replica take over, which has not got what was written in the last `lagMs`. */
  failover(lagMs: number): Promise<void>;
  close(): Promise<void>;
}

async function startPostgres(): Promise<Store> {
  const database = await Postgres.start();
  const pool = new pg.Pool(database.connection);
  pool.on('error', () => undefined);
  await pool.query(`${PostgresOnceStore.schema()}
    CREATE TABLE orders (sequence bigserial PRIMARY KEY, item text NOT NULL);`);
  return {
    options: { postgres: database.connection },
    written: async () => (await pool.query<Written>('SELECT item, sequence FROM orders')).rows,
    restart: (downMs) => database.restart(downMs),
    failover: () => Promise.reject(new Error('Effects are lost with a database that lags')),
    close: async () => {
      await pool.end();
      await database.close();
    },
  };
}

/** A file of orders, which the handlers write synchronously. */
function logFile() {
  const folder = mkdtempSync(join(tmpdir(), 'writes-'));
  const log = join(folder, 'orders');
  writeFileSync(log, '');
  return {
    log,
    written: () =>
      Promise.resolve(
        readFileSync(log, 'utf8')
          .split('\n')
          .slice(0, -1)
          .map((line): Written => {
            const [item = '', sequence = ''] = line.split(' ');
            return { item, sequence };
          }),
      ),
    remove: () => {
      rmSync(folder, { recursive: true });
    },
  };
}

function startMemory(): Promise<Store> {
  const { log, written, remove } = logFile();
  return Promise.resolve({
    ...{ options: { log }, written },
    restart: () => Promise.reject(new Error('Memory has no server')),
    failover: () => Promise.reject(new Error('Memory has no replica')),
    close: () => {
      remove();
      return Promise.resolve();
    },
  });
}

/** Two servers, of which one replicates the other through a proxy that can hold back what it gets. */
async function startRedis(): Promise<Store> {
  const { log, written, remove } = logFile();
  const start = async () => {
    const redis = await Redis.start('--repl-diskless-sync-delay', '0');
    return { redis, admin: await redisClientTo(redis.port), proxy: await FaultProxy.start(`127.0.0.1:${redis.port}`) };
  };
  let [primary, replica] = [await start(), await start()];
  /** What servers connect to, as a name that leads to the primary. */
  const front = await FaultProxy.start(`127.0.0.1:${primary.redis.port}`);
  const replicate = () => replica.admin.replicaOf('127.0.0.1', primary.proxy.port);
  const isSynced = async () => (await replica.admin.info('replication')).includes('master_link_status:up');
  await replicate();
  await waitFor(isSynced, { timeoutMs: 60_000 });
  return {
    options: { redis: front.port, log },
    written,
    restart: (downMs) => primary.redis.restart(downMs),
    failover: async (lagMs) => {
      primary.proxy.holdBytes('to-client');
      await pause(lagMs);
      await replica.admin.replicaOf('NO', 'ONE' as never);
      front.retarget(`127.0.0.1:${replica.redis.port}`);
      front.resetAll();
      [primary, replica] = [replica, primary];
      replica.proxy.resetAll();
      replica.proxy.releaseBytes();
      await replicate();
      await waitFor(isSynced, { timeoutMs: 60_000 });
    },
    close: async () => {
      for (const { redis, admin, proxy } of [primary, replica]) {
        admin.destroy();
        await proxy.close();
        await redis.close();
      }
      await front.close();
      remove();
    },
  };
}

const START = { PostgreSQL: startPostgres, Redis: startRedis, memory: startMemory };

/** A process that serves orders, and the line to it. */
export interface Replica {
  readonly server: ChildServer;
  readonly line: Line;
  isOld: boolean;
}

/** Replicas of a service, and their store. */
export class Shop {
  private constructor(
    readonly store: Store,
    readonly replicas: readonly Replica[],
  ) {}

  static async start(name: StoreName, replicas: number, isOld: boolean): Promise<Shop> {
    const store = await START[name]();
    const startReplica = async () => {
      const version = { isOld };
      const server = await startOrders((port) => ({ ...store.options, ...version, port }));
      return Object.assign(version, { server, line: await Line.start(server.port) });
    };
    return new Shop(store, await Promise.all(Array.from({ length: replicas }, startReplica)));
  }

  async close(): Promise<void> {
    for (const { server, line } of this.replicas) {
      line.close();
      await server.close();
    }
    await this.store.close();
  }
}
