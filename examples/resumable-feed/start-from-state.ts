// #region all
import { isGrpcCallError } from 'nestjs-resilient-grpc';
import type { Cursors, OrderFeed } from './order-feed.js';

/** Follows the feed, and begins with the current state if the server no longer has the events after the cursor. */
export async function follow(feed: OrderFeed, cursors: Cursors, loadState: () => Promise<bigint>): Promise<void> {
  for (;;) {
    try {
      await feed.follow();
      return; // your process shuts down
    } catch (error) {
      if (!isGrpcCallError(error, 'OUT_OF_RANGE')) throw error;
      cursors.last = await loadState(); // replaces your copy of the orders, and returns the position that it was read at
    }
  }
}
// #endregion
