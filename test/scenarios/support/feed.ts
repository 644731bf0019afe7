import { resumable } from 'nestjs-resilient-grpc/operators';
import type { Subscription } from 'rxjs';
import type { OrderEvent } from '../../../src/gen/orders.pb.js';
import type { OrdersOf } from '../../support/orders-app.js';
import type { Run } from './scenario.js';

/** A resumable feed with consecutively numbered events. Counts lost and repeated events. */
export class Feed {
  events = 0;
  /** Number of skipped events. */
  lost = 0;
  /** Number of events that arrived again or out of order. */
  repeated = 0;
  /** Reason for the end of the feed; `undefined` while it runs. */
  end: string | undefined;
  private readonly subscription: Subscription;

  private constructor({ orders }: OrdersOf, onComplete: 'complete' | 'resume') {
    let last = 0n;
    const watch = (from: bigint) => orders.watch({ from: String(from) });
    const cursor = ({ sequence }: OrderEvent) => BigInt(sequence);
    this.subscription = resumable(watch, { cursor, seed: 0n, onComplete }).subscribe({
      next: ({ sequence }) => {
        const number = BigInt(sequence);
        this.events += 1;
        if (number > last + 1n) this.lost += Number(number - last) - 1;
        if (number <= last) this.repeated += 1;
        else last = number;
      },
      error: (error: unknown) => (this.end = String(error)),
      complete: () => (this.end = 'completed'),
    });
  }

  /** Subscribes from the first event until the end of the run. */
  static follow(run: Run, client: OrdersOf, onComplete: 'complete' | 'resume' = 'complete'): Feed {
    const feed = new Feed(client, onComplete);
    run.onEnd(() => feed.subscription.unsubscribe());
    return feed;
  }
}
