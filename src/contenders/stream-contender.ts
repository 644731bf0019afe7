import type { OrderEvent } from '../gen/orders.pb.js';
import type { SessionOrders } from '../load/session-orders.js';
import type { ContenderName } from './contender.js';

/** A way to keep streams open to the upstream, whatever becomes of their connections. */
export interface StreamContender {
  readonly name: ContenderName;
  /**
   * Follows the log after the cursor `from`: the next event is handled when `handle` has done with the one before. Resolves when
   * `signal` aborts, or when the contender thinks that this was all; rejects when it gives up.
   */
  follow(from: string, handle: (event: OrderEvent) => Promise<void>, signal: AbortSignal): Promise<void>;
  /** Keeps a session over which the orders are sent as they are made. Ends as {@link follow} does. */
  converse(orders: SessionOrders, signal: AbortSignal): Promise<void>;
}
