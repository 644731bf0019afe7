// #region all
import { Controller, Module } from '@nestjs/common';
import { GrpcMethod, Payload } from '@nestjs/microservices';
import {
  CallOnce,
  GrpcException,
  Once,
  PostgresOnceStore,
  ResilientGrpcServerModule,
  type OnceWrite,
} from 'nestjs-resilient-grpc/server';
import { Pool, type PoolClient } from 'pg';

// A frozen handler holds its row until then.
const pool = new Pool({ options: '-c idle_in_transaction_session_timeout=2000' });
// Of its own, so that handlers that wait for connections do not keep the store waiting.
const keys = new Pool({ max: 4 });
for (const each of [pool, keys]) {
  each.on('error', (error) => console.warn(error.message));
  // Without a listener, a connection that the database ends during a transaction would end the process.
  each.on('connect', (client) => client.on('error', (error) => console.warn(error.message)));
}

@Controller()
export class OrdersController {
  @Once()
  @GrpcMethod('Orders', 'Create')
  async create(@Payload() { item }: { item: string }, @CallOnce() once: OnceWrite) {
    let isDone = false;
    let client: PoolClient | undefined;
    try {
      client = await pool.connect();
      await client.query('BEGIN');
      const { rows } = await client.query<{ id: string }>('INSERT INTO orders (item) VALUES ($1) RETURNING id', [item]);
      const response = { id: rows[0]?.id, item };
      // The last statement: the order and its answer are both there, or neither.
      await once.commit(client, response);
      await client.query('COMMIT');
      isDone = true;
      return response;
    } catch (error) {
      // The database was lost. The store knows whether the write was done.
      if (/connect|database system/i.test(String(error))) throw new GrpcException('UNAVAILABLE', String(error));
      throw error;
    } finally {
      // A connection whose transaction has failed is closed.
      client?.release(!isDone);
    }
  }
}

// Its tables are in PostgresOnceStore.schema(), for a migration.
const once = { store: new PostgresOnceStore(keys) };

@Module({
  imports: [ResilientGrpcServerModule.forRoot({ package: 'orders.v1', protoPath: 'protos/orders.proto', once })],
  controllers: [OrdersController],
})
export class OrdersModule {}
// #endregion
