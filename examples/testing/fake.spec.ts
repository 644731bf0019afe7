// #region all
import { Test } from '@nestjs/testing';
import { failOnLeaks, fakeGrpcService, grpcError, overrideGrpcService } from 'nestjs-resilient-grpc/testing';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { OrdersClient } from '../gen/orders.js';
import { Shop, ShopModule } from './shop.js';

failOnLeaks(beforeEach, afterEach); // at the top of the file; put your own hooks inside a describe

describe('Shop', () => {
  test('returns undefined for an unknown order, and rejects if the server is unreachable', async () => {
    const orders = fakeGrpcService<OrdersClient>({
      get: ({ id }) => {
        if (id === '7') return { id, requestId: '', item: 'tea', quantity: 1, sequence: '1' };
        throw id === '8' ? grpcError('NOT_FOUND') : grpcError('UNAVAILABLE', 'unreachable', { reason: 'outage' });
      },
    });
    const builder = Test.createTestingModule({ imports: [ShopModule] });
    const app = await overrideGrpcService(builder, 'orders', 'Orders', orders).compile();
    const shop = app.get(Shop);

    expect(await shop.item('7')).toBe('tea');
    expect(await shop.item('8')).toBeUndefined();
    await expect(shop.item('9')).rejects.toMatchObject({ codeName: 'UNAVAILABLE', reachedServer: 'no' });
    expect(orders.calls.map(({ request }) => request)).toEqual([{ id: '7' }, { id: '8' }, { id: '9' }]);
    await app.close();
  });
});
// #endregion
