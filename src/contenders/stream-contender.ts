import type { OrderEvent } from '../gen/orders.pb.js';
import type { SessionOrders } from '../load/session-orders.js';
import type { ContenderName } from './contender.js';

/** A client that keeps streams to the upstream open across lost connections. */
export interface StreamContender {
  readonly name: ContenderName;
  /**
   * Follows the log after the cursor `from`. Handles one event at a time. Resolves when `signal` is aborted, or when the contender
   * considers the stream complete. Rejects if the contender stops retrying.
   */
  follow(from: string, handle: (event: OrderEvent) => Promise<void>, signal: AbortSignal): Promise<void>;
  /** Sends the orders over a session as they are created. Settles like {@link follow}. */
  converse(orders: SessionOrders, signal: AbortSignal): Promise<void>;
}
