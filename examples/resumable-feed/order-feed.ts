// #region all
import { Injectable } from '@nestjs/common';
import { InjectGrpcService, type Resilient } from 'nestjs-resilient-grpc';
import { resumable } from 'nestjs-resilient-grpc/operators';
import type { OrderEvent, OrdersClient } from '../gen/orders.js';

/** Remembers how far this process has come. Yours is a row, written in the transaction of the work for the event. */
@Injectable()
export class Cursors {
  last = 0n;
}

@Injectable()
export class OrderFeed {
  readonly handled: string[] = [];

  constructor(
    @InjectGrpcService('orders', 'Orders') private readonly orders: Resilient<OrdersClient>,
    private readonly cursors: Cursors,
  ) {}

  /** Handles each event once and in order, whatever happens to the server and the connection. */
  async follow(): Promise<void> {
    const feed = resumable(
      (from: bigint) => this.orders.watch({ from: String(from) }, { streamIdleTimeoutMs: 60_000 }),
      {
        cursor: ({ sequence }) => BigInt(sequence),
        seed: this.cursors.last,
        heartbeat: ({ order }) => !order, // only says that the stream is alive
        onComplete: 'resume', // a feed has no end, so a server that ends it is only restarting
      },
    );
    for await (const event of feed) {
      this.handle(event);
      this.cursors.last = BigInt(event.sequence);
    }
  }

  private handle({ order }: OrderEvent): void {
    this.handled.push(order?.item ?? '');
  }
}
// #endregion
