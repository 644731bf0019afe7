import type { GrpcCallOptions, GrpcObservable, Resilient } from 'nestjs-resilient-grpc';
import { resumable } from 'nestjs-resilient-grpc/operators';
import type { OrderEvent, OrdersClient } from '../gen/orders.pb.js';

/**
 * Follows the log after a cursor until unsubscribed. Delivers every event once and in order, across any number of calls. A clean end of a
 * call means that the server is shutting down, so the feed is resumed in this case, too.
 */
export function resilientFeed(
  orders: Resilient<OrdersClient>,
  from: string,
  options: GrpcCallOptions,
): GrpcObservable<OrderEvent> {
  return resumable((cursor: bigint) => orders.watch({ from: String(cursor) }, options), {
    // Converts cursors to BigInt, because 64-bit cursors arrive as strings, and '9' > '10' as strings.
    cursor: ({ sequence }) => BigInt(sequence),
    seed: BigInt(from),
    onComplete: 'resume',
  });
}
