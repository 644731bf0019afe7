// A server of orders.v1.Orders whose Create runs once for each key:
//   node --import ./test/support/typescript.mjs orders-process.ts '{ "postgres": {}, "port": 50051 }'
// With `postgres`, inserts an order and its answer in one transaction. Otherwise, appends orders to the file `log`, and keeps keys in Redis on
// the port `redis`, or in memory. With `isOld`, it is a version without the feature.
import 'reflect-metadata';
import { appendFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Controller, Module, type INestMicroservice } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { GrpcMethod, Payload } from '@nestjs/microservices';
import {
  CallOnce,
  GrpcException,
  Once,
  PostgresOnceStore,
  ResilientGrpcServer,
  ResilientGrpcServerModule,
  type OnceStore,
  type OnceWrite,
} from 'nestjs-resilient-grpc/server';
import pg from 'pg';
import { RedisOnceStore } from '../../../examples/recipes/redis-once-store.js';
import type { ConnectionOptions } from '../../support/postgres.js';
import { redisClientTo } from '../../support/redis.js';

export interface OrdersProcessOptions {
  readonly port: number;
  readonly postgres?: ConnectionOptions | undefined;
  readonly redis?: number | undefined;
  readonly log?: string | undefined;
  readonly isOld?: boolean | undefined;
}

type Request = { readonly item: string; readonly quantity: number };

// Safe cast: see above.
const { port, postgres, redis, log = '', isOld = false } = JSON.parse(process.argv[2] ?? '') as OrdersProcessOptions;
/** Maximum pause of a handler before and after it writes, so that kills meet it anywhere, in milliseconds. */
const PAUSE_MS = 40;
const pauses = () => pause(Math.random() * PAUSE_MS);
const pool = new pg.Pool({ ...postgres, options: '-c idle_in_transaction_session_timeout=2000' });
const keys = new pg.Pool({ ...postgres, max: 4 });
for (const each of [pool, keys]) {
  each.on('error', () => undefined);
  each.on('connect', (client) => client.on('error', () => undefined));
}

async function insert({ item, quantity }: Request, once: OnceWrite): Promise<object> {
  const client = await pool.connect().catch((error: unknown) => {
    throw new GrpcException('UNAVAILABLE', String(error));
  });
  let isDone = false;
  try {
    await client.query('BEGIN');
    const text = 'INSERT INTO orders (item) VALUES ($1) RETURNING sequence';
    const { rows } = await client.query<{ sequence: string }>(text, [item]);
    await pauses();
    const response = { item, quantity, sequence: rows[0]?.sequence };
    await once.commit(client, response);
    await client.query('COMMIT');
    isDone = true;
    return response;
  } catch (error) {
    // The database was lost, perhaps during the COMMIT. The store finds out what became of it, and the client repeats what was not done.
    throw new GrpcException('UNAVAILABLE', String(error));
  } finally {
    client.release(!isDone);
  }
}

let written = 0;

async function append({ item, quantity }: Request): Promise<object> {
  const sequence = `${String(process.pid)}${String((written += 1)).padStart(6, '0')}`;
  appendFileSync(log, `${item} ${sequence}\n`);
  await pauses();
  return { item, quantity, sequence };
}

async function create(request: Request, once: OnceWrite): Promise<object> {
  await pauses();
  return postgres === undefined ? append(request) : insert(request, once);
}

@Controller()
class NewOrders {
  @Once()
  @GrpcMethod('Orders', 'Create')
  create(@Payload() request: Request, @CallOnce() once: OnceWrite): Promise<object> {
    return create(request, once);
  }
}

@Controller()
class OldOrders {
  @GrpcMethod('Orders', 'Create')
  create(@Payload() request: Request): Promise<object> {
    return create(request, { key: undefined, commit: () => Promise.resolve() });
  }
}

async function storeOf(): Promise<OnceStore | undefined> {
  if (postgres !== undefined) return new PostgresOnceStore(keys);
  return redis === undefined ? undefined : new RedisOnceStore(await redisClientTo(redis));
}

const store = await storeOf();
@Module({
  imports: [
    ResilientGrpcServerModule.forRoot({
      package: 'orders.v1',
      protoPath: fileURLToPath(new URL('../../../protos/orders.proto', import.meta.url)),
      loader: { longs: String },
      url: `127.0.0.1:${String(port)}`,
      ...(!isOld && { once: { ...(store && { store }) } }),
    }),
  ],
  controllers: [isOld ? OldOrders : NewOrders],
})
class AppModule {}
const app = await NestFactory.createMicroservice<INestMicroservice>(AppModule, {
  useFactory: (strategy: ResilientGrpcServer) => ({ strategy }),
  inject: [ResilientGrpcServer],
  logger: ['error', 'warn'],
} as never);
await app.listen();
process.send?.({ listening: port });
