// #region all
import { Controller, Module } from '@nestjs/common';
import { GrpcMethod, Payload } from '@nestjs/microservices';
import {
  CallOnce,
  Once,
  PostgresOnceStore,
  ResilientGrpcServerModule,
  type OnceWrite,
} from 'nestjs-resilient-grpc/server';
import { Pool } from 'pg';

const pool = new Pool({ options: '-c idle_in_transaction_session_timeout=2000' });
pool.on('error', (error) => console.warn(error.message));

@Controller()
export class OrdersController {
  @Once()
  @GrpcMethod('Orders', 'Create')
  async create(@Payload() { item }: { item: string }, @CallOnce() once: OnceWrite) {
    const client = await pool.connect();
    let isDone = false;
    try {
      await client.query('BEGIN');
      const { rows } = await client.query<{ id: string }>('INSERT INTO orders (item) VALUES ($1) RETURNING id', [item]);
      const response = { id: rows[0]?.id, item };
      // The last statement: the order and its answer are both there, or neither.
      await once.commit(client, response);
      await client.query('COMMIT');
      isDone = true;
      return response;
    } finally {
      // A connection whose transaction has failed is closed.
      client.release(!isDone);
    }
  }
}

// Its tables are in PostgresOnceStore.schema(), for a migration.
const once = { store: new PostgresOnceStore(pool) };

@Module({
  imports: [ResilientGrpcServerModule.forRoot({ package: 'orders.v1', protoPath: 'protos/orders.proto', once })],
  controllers: [OrdersController],
})
export class OrdersModule {}
// #endregion
