import { resumable } from 'nestjs-resilient-grpc/operators';
import type { Subscription } from 'rxjs';
import type { OrderEvent } from '../../../src/gen/orders.pb.js';
import type { OrdersOf } from '../../support/orders-app.js';
import type { Run } from './situation.js';

/** A feed that is resumed, whose events are numbered without a gap, and what became of it. */
export class Feed {
  events = 0;
  /** Numbers left out. */
  lost = 0;
  /** Numbers that came again, or too late. */
  repeated = 0;
  /** Of `performance.now()`. */
  lastAt = NaN;
  /** Why it is over; undefined while it is not. */
  end: unknown;
  private readonly subscription: Subscription;

  private constructor({ orders }: OrdersOf, call: object) {
    let last = 0n;
    const watch = (from: bigint) => orders.watch({ from: String(from) }, call);
    const cursor = ({ sequence }: OrderEvent) => BigInt(sequence);
    this.subscription = resumable(watch, { cursor, seed: 0n }).subscribe({
      next: ({ sequence }) => {
        const number = BigInt(sequence);
        this.events += 1;
        if (number > last + 1n) this.lost += Number(number - last) - 1;
        if (number <= last) this.repeated += 1;
        else last = number;
        this.lastAt = performance.now();
      },
      error: (error: unknown) => (this.end = error),
      complete: () => (this.end = 'completed'),
    });
  }

  /** Follows from the beginning on, until the end of the play. */
  static follow(run: Run, client: OrdersOf, call: object = {}): Feed {
    const feed = new Feed(client, call);
    run.onEnd(() => feed.leave());
    return feed;
  }

  leave(): void {
    this.subscription.unsubscribe();
  }
}
