import type { Type } from '@nestjs/common';
import { Test } from '@nestjs/testing';
import { ScriptedGrpcServer, overrideGrpcClient, waitFor } from 'nestjs-resilient-grpc/testing';
import { expect, it, onTestFinished } from 'vitest';
import { OrdersGateway, OrdersModule, OrdersModuleWithPolicy } from './orders.gateway.js';

async function connect(module: Type) {
  const server = await ScriptedGrpcServer.start({ protoPath: 'protos/orders.proto' });
  onTestFinished(() => server.close());
  const builder = Test.createTestingModule({ imports: [module] });
  const app = await overrideGrpcClient(builder, 'orders', { url: server.url }).compile();
  onTestFinished(() => app.close());
  return { server, gateway: app.get(OrdersGateway) };
}

const order = { requestId: 'r-1', item: 'tea', quantity: 1 };

it('retries a read that fails with UNAVAILABLE', async () => {
  const { server, gateway } = await connect(OrdersModule);
  server.script('Get', [{ status: 'UNAVAILABLE' }, { status: 'UNAVAILABLE' }, { message: { item: 'tea' } }]);
  expect(await gateway.get('7')).toMatchObject({ item: 'tea' });
  expect(server.calls('Get').map(({ previousAttempts }) => previousAttempts)).toEqual([0, 1, 2]);
});

it('retries the status codes of the policy, as often as it says', async () => {
  const { server, gateway } = await connect(OrdersModuleWithPolicy);
  server.script('Get', [{ status: 'ABORTED' }, { message: { item: 'tea' } }]);
  expect(await gateway.get('7')).toMatchObject({ item: 'tea' });
  server.script('Get', { status: 'ABORTED' });
  await expect(gateway.get('8')).rejects.toMatchObject({
    codeName: 'ABORTED',
    notRetriedBecause: 'attempts-exhausted',
  });
  expect(server.counts('Get').calls).toBe(2 + 3);
});

it('does not repeat a write whose connection is lost, and says that it may have been executed', async () => {
  const { server, gateway } = await connect(OrdersModule);
  server.script('Create', { never: true });
  const placed = gateway.place(order);
  await waitFor(() => server.counts('Create').open === 1);
  await server.stop('kill-connections');
  expect(await placed).toBe('look for r-1');
  expect(server.counts('Create').calls).toBe(1);

  await server.restart();
  server.script('Create', [{ message: { id: '9' } }, { status: 'FAILED_PRECONDITION', details: 'out of tea' }]);
  expect(await gateway.place(order)).toBe('placed as 9');
  expect(await gateway.place(order)).toBe('rejected: out of tea');
});
