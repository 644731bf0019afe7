import * as assert from 'node:assert/strict';
import { Test } from '@nestjs/testing';
import { GrpcCallError, getGrpcServiceToken } from 'nestjs-resilient-grpc';
import {
  ScriptedGrpcServer,
  failOnLeaks,
  fakeGrpcService,
  grpcError,
  overrideGrpcClient,
} from 'nestjs-resilient-grpc/testing';
import { afterEach, beforeEach, it } from 'vitest';
import { Shop, ShopModule } from './shop.js';

failOnLeaks(beforeEach, afterEach, { timeoutMs: 60_000 });

it('retries a read that fails with UNAVAILABLE, and waits for a server that restarts', async () => {
  const server = await ScriptedGrpcServer.start({
    protoPath: 'orders.proto',
    scripts: { Get: [{ status: 'UNAVAILABLE' }, { message: { item: 'tea' } }, { status: 'NOT_FOUND' }] },
  });
  const builder = Test.createTestingModule({ imports: [ShopModule] });
  const app = await overrideGrpcClient(builder, 'orders', { url: server.url, outageGraceMs: 60_000 }).compile();

  assert.equal(await app.get(Shop).item('7'), 'tea');
  assert.equal(await app.get(Shop).item('8'), undefined);
  await server.stop('kill-connections');
  const item = app.get(Shop).item('9');
  server.script('Get', { message: { item: 'coffee' } });
  await server.restart();
  assert.equal(await item, 'coffee');
  await app.close();
  await server.close();
});

it('recognizes the error of a fake service', async () => {
  const orders = fakeGrpcService<{ get(request: { id: string }): unknown }>({
    get: () => {
      throw grpcError('UNAVAILABLE', 'unreachable', { reason: 'outage' });
    },
  });
  const app = await Test.createTestingModule({ imports: [ShopModule] })
    .overrideProvider(getGrpcServiceToken('orders', 'Orders'))
    .useValue(orders)
    .compile();

  const error: unknown = await app
    .get(Shop)
    .item('7')
    .catch((failure: unknown) => failure);
  assert.ok(error instanceof GrpcCallError);
  assert.equal(error.reachedServer, 'no');
  await app.close();
});
