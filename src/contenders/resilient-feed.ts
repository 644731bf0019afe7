import type { GrpcCallOptions, GrpcObservable, Resilient } from 'nestjs-resilient-grpc';
import { resumable } from 'nestjs-resilient-grpc/operators';
import type { OrderEvent, OrdersClient } from '../gen/orders.pb.js';

/**
 * The log after a cursor, for as long as somebody reads it: every event once and in order, whatever becomes of the calls. A server
 * that ends a call in order is one that goes, so the next call follows then too.
 */
export function resilientFeed(
  orders: Resilient<OrdersClient>,
  from: string,
  options: GrpcCallOptions,
): GrpcObservable<OrderEvent> {
  return resumable((cursor: bigint) => orders.watch({ from: String(cursor) }, options), {
    // A cursor of 64 bits arrives as a string: compared as such, '9' comes after '10'.
    cursor: ({ sequence }) => BigInt(sequence),
    seed: BigInt(from),
    onComplete: 'resume',
  });
}
