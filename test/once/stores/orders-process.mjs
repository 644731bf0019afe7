// A server of orders.v1.Orders whose Create inserts an order and its answer in one transaction:
//   node orders-process.mjs '{ "connection": {}, "port": 50051 }'
import 'reflect-metadata';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Controller, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { GrpcMethod, Payload } from '@nestjs/microservices';
import {
  CallOnce,
  GrpcException,
  Once,
  PostgresOnceStore,
  ResilientGrpcServer,
  ResilientGrpcServerModule,
} from 'nestjs-resilient-grpc/server';
import pg from 'pg';

const { connection, port } = JSON.parse(process.argv[2]);
const pool = new pg.Pool({ ...connection, options: '-c idle_in_transaction_session_timeout=5000' });
pool.on('error', () => undefined);
/** Maximum pause of a handler before and after it writes, so that kills meet it anywhere, in milliseconds. */
const PAUSE_MS = 40;

class Orders {
  async create({ item, quantity }, once) {
    await pause(Math.random() * PAUSE_MS);
    const client = await pool.connect().catch((error) => {
      throw new GrpcException('UNAVAILABLE', error.message);
    });
    client.once('error', () => undefined);
    let isDone = false;
    try {
      await client.query('BEGIN');
      const { rows } = await client.query('INSERT INTO orders (item) VALUES ($1) RETURNING sequence', [item]);
      await pause(Math.random() * PAUSE_MS);
      const response = { item, quantity, sequence: rows[0].sequence };
      await once.commit(client, response);
      await client.query('COMMIT');
      isDone = true;
      return response;
    } catch (error) {
      // The database was lost, perhaps during the COMMIT. The store finds out what became of it, and the client repeats what was not done.
      throw new GrpcException('UNAVAILABLE', error.message);
    } finally {
      client.release(!isDone);
    }
  }
}
// Applies decorators by hand, because this file is not TypeScript.
const descriptor = Object.getOwnPropertyDescriptor(Orders.prototype, 'create');
GrpcMethod('Orders', 'Create')(Orders.prototype, 'create', descriptor);
Once()(Orders.prototype, 'create', descriptor);
Object.defineProperty(Orders.prototype, 'create', descriptor);
Payload()(Orders.prototype, 'create', 0);
CallOnce()(Orders.prototype, 'create', 1);
Controller()(Orders);

class AppModule {}
Module({
  imports: [
    ResilientGrpcServerModule.forRoot({
      package: 'orders.v1',
      protoPath: fileURLToPath(new URL('../../../protos/orders.proto', import.meta.url)),
      loader: { longs: String },
      url: `127.0.0.1:${port}`,
      once: { store: new PostgresOnceStore(pool) },
    }),
  ],
  controllers: [Orders],
})(AppModule);
const app = await NestFactory.createMicroservice(AppModule, {
  useFactory: (strategy) => ({ strategy }),
  inject: [ResilientGrpcServer],
  logger: ['error', 'warn'],
});
await app.listen();
process.send({ listening: port });
