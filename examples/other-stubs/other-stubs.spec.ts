import { Test } from '@nestjs/testing';
import type { Client } from 'nice-grpc';
import { getGrpcClientToken, type ResilientGrpcClient } from 'nestjs-resilient-grpc';
import { FaultProxy, ScriptedGrpcServer, overrideGrpcClient, waitFor } from 'nestjs-resilient-grpc/testing';
import { expect, it, onTestFinished } from 'vitest';
import { OrdersClient, type Order, type OrdersService } from '../ts-proto/gen/orders.pb.js';
import { NICE_ORDERS, OrdersModule } from './orders.module.js';

it('lets the calls of both stubs wait while the server restarts', async () => {
  const server = await ScriptedGrpcServer.start({
    protoPath: 'protos/orders.proto',
    scripts: { Get: { message: { id: '7', item: 'tea' } }, Watch: { messages: [{ sequence: 1 }, { sequence: 2 }] } },
  });
  onTestFinished(() => server.close());
  const proxy = await FaultProxy.start(server.url);
  onTestFinished(() => proxy.close());
  const builder = Test.createTestingModule({ imports: [OrdersModule] });
  const app = await overrideGrpcClient(builder, 'orders', { url: proxy.url }).compile();
  onTestFinished(() => app.close());
  const client = app.get<ResilientGrpcClient>(getGrpcClientToken('orders'));
  const nice = app.get<Client<typeof OrdersService>>(NICE_ORDERS);
  const plain = app.get<OrdersClient>(OrdersClient);
  const get = () =>
    Promise.all([
      nice.get({ id: '7' }),
      new Promise<Order>((resolve, reject) => {
        plain.get({ id: '7' }, (error, order) => (error === null ? resolve(order) : reject(error)));
      }),
    ]);

  expect(await get()).toMatchObject([{ item: 'tea' }, { item: 'tea' }]);
  proxy.refuse();
  proxy.resetAll();
  await waitFor(() => client.connectivity.state !== 'READY');
  const waiting = get();
  await waitFor(() => client.snapshot().waiting === 2);
  await proxy.forward();
  expect(await waiting).toMatchObject([{ item: 'tea' }, { item: 'tea' }]);

  const seen: bigint[] = [];
  for await (const { sequence } of nice.watch({ from: 0n })) seen.push(sequence);
  expect(seen).toEqual([1n, 2n]);
  expect(server.connections.accepted).toBe(2);
});
