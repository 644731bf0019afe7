// #region all
import { resumable } from 'nestjs-resilient-grpc/operators';
import { VirtualScheduler, fakeGrpcService, grpcError } from 'nestjs-resilient-grpc/testing';
import { expect, test } from 'vitest';
import type { OrdersClient } from '../gen/orders.js';

test('tries to resume a feed each minute while its server stays away', async () => {
  const orders = fakeGrpcService<OrdersClient>({
    watch: () => {
      throw grpcError('UNAVAILABLE', 'connection lost', { reason: 'connection-lost' });
    },
  });
  const scheduler = new VirtualScheduler();
  const feed = resumable((from: bigint) => orders.watch({ from: String(from) }), {
    cursor: ({ sequence }) => BigInt(sequence),
    seed: 0n,
    backoff: { initialBackoffMs: 1_000, maxBackoffMs: 60_000 },
    scheduler,
    random: () => 0.5, // no jitter
  });
  const subscription = feed.subscribe();
  await scheduler.pass(999);
  expect(orders.calls.length).toBe(1);
  await scheduler.pass(1);
  expect(orders.calls.length).toBe(2);
  await scheduler.pass(3_600_000);
  expect(orders.calls.length).toBe(65); // after 1 s, 2 s, 4 s … 32 s, then each minute
  subscription.unsubscribe();
  expect(scheduler.pending).toBe(0);
});
// #endregion
