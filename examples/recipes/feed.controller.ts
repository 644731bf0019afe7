// #region all
import { Controller, Headers, Sse, type MessageEvent } from '@nestjs/common';
import { InjectGrpcService, type Resilient } from 'nestjs-resilient-grpc';
import { resumable } from 'nestjs-resilient-grpc/operators';
import { catchError, map, of, type Observable } from 'rxjs';
import type { OrdersClient } from '../gen/orders.js';

@Controller()
export class FeedController {
  constructor(@InjectGrpcService('orders', 'Orders') private readonly orders: Resilient<OrdersClient>) {}

  @Sse('feed') feed(@Headers('last-event-id') last = '0'): Observable<MessageEvent> {
    const feed = resumable(
      (from: bigint) => this.orders.watch({ from: String(from) }, { streamIdleTimeoutMs: 60_000 }),
      { cursor: ({ sequence }) => BigInt(sequence), seed: /^\d+$/.test(last) ? BigInt(last) : 0n },
    );
    let id = last;
    return feed.pipe(
      map(({ sequence, order }) => ({ id: (id = sequence), data: { item: order?.item } })),
      // Nest would give its own error event another id, from which the browser would then reconnect.
      catchError(() => of({ id, type: 'failed', data: 'the feed has failed' })),
    );
  }
}
// #endregion
