import type { OrderEvent } from '../gen/orders.pb.js';
import type { OrderLog } from './order-log.js';

/** What orders are poured into: a response stream of grpc-js is one. */
export interface EventSink {
  /** False: it has enough until `drain`. */
  write(event: OrderEvent): boolean;
  once(event: 'drain', listener: () => void): unknown;
  end(): void;
}

/**
 * Writes the orders after the cursor `from`, then each that is appended, as fast as `sink` takes them and no faster: what its reader
 * leaves lying stays in the log, and not in the memory of this process. Ends `sink` when the log lets its followers go; the
 * returned function lets go before.
 */
export function pourLog(log: OrderLog, from: bigint, sink: EventSink): () => void {
  let cursor = from;
  let full = false;
  let stopped = false;

  const pour = (): void => {
    while (!full && !stopped) {
      const order = log.after(cursor);
      if (!order) return;
      cursor = BigInt(order.sequence);
      if (sink.write({ sequence: order.sequence, order })) continue;
      full = true;
      sink.once('drain', () => {
        full = false;
        pour();
      });
    }
  };

  pour();
  const following = log.appended$.subscribe({ next: pour, complete: () => sink.end() });
  return () => {
    stopped = true;
    following.unsubscribe();
  };
}
