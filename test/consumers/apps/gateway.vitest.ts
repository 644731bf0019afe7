/** Unit tests with Vitest: the gateway with a fake service. */
import { Test } from '@nestjs/testing';
import { getGrpcServiceToken } from 'nestjs-resilient-grpc';
import { failOnLeaks, fakeGrpcService, grpcError } from 'nestjs-resilient-grpc/testing';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { OrdersClient } from '../../../src/gen/orders.pb.js';
import { GatewayModule } from './gateway.js';

failOnLeaks(beforeEach, afterEach, { timeoutMs: 60_000 });

test('responds with 404 if an order does not exist', async () => {
  const orders = fakeGrpcService<OrdersClient>({
    get: () => {
      throw grpcError('NOT_FOUND', 'no such order');
    },
  });
  const module = await Test.createTestingModule({ imports: [GatewayModule] })
    .overrideProvider(getGrpcServiceToken('orders', 'orders.v1.Orders'))
    .useValue(orders)
    .compile();
  const app = module.createNestApplication({ logger: false });
  await app.listen(0, '127.0.0.1');

  const answer = await fetch(`${await app.getUrl()}/orders/8`, { headers: { connection: 'close' } });
  expect({ status: answer.status, body: await answer.json() }).toMatchObject({
    status: 404,
    body: { message: 'no such order' },
  });
  expect(orders.calls).toMatchObject([{ request: { id: '8' } }]);
  await app.close();
});
