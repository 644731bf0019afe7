// #region all
import { Test, type TestingModule } from '@nestjs/testing';
import { ScriptedGrpcServer, failOnLeaks, overrideGrpcClient, waitFor } from 'nestjs-resilient-grpc/testing';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Shop, ShopModule } from './shop.js';

failOnLeaks(beforeEach, afterEach);

describe('Shop', () => {
  let server: ScriptedGrpcServer | undefined;
  let app: TestingModule | undefined;

  beforeEach(async () => {
    server = await ScriptedGrpcServer.start({ protoPath: 'protos/orders.proto' });
    const builder = Test.createTestingModule({ imports: [ShopModule] });
    app = await overrideGrpcClient(builder, 'orders', { url: server.url }).compile();
  });
  afterEach(async () => {
    await app?.close();
    await server?.close();
    app = server = undefined; // so that this hook closes nothing twice if the next beforeEach fails
  });

  test('retries a read that fails with UNAVAILABLE', async () => {
    server!.script('Get', [{ status: 'UNAVAILABLE' }, { message: { item: 'tea' } }]);
    expect(await app!.get(Shop).item('7')).toBe('tea');
    expect(server!.calls('Get').map(({ previousAttempts }) => previousAttempts)).toEqual([0, 1]);
  });

  test('repeats a read if the server is killed during the call', async () => {
    server!.script('Get', [{ hold: 'everything' }, { message: { item: 'tea' } }]);
    const item = app!.get(Shop).item('7');
    await waitFor(() => server!.heldCount('Get') === 1);
    await server!.stop('kill-connections');
    await server!.restart();
    expect(await item).toBe('tea');
  });
});
// #endregion
