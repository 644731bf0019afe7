import type { ClientGrpc } from '@nestjs/microservices';
import { concatMap, defer, Observable, type Subscriber, tap } from 'rxjs';
import { type OrderEvent, ORDERS_SERVICE_NAME, type OrdersClient, type SessionRequest } from '../gen/orders.pb.js';
import type { SessionOrders } from '../load/session-orders.js';
import { contenderMetadata } from './contender.js';
import { resubscribe, untilAborted } from './plain-streams.js';
import type { StreamContender } from './stream-contender.js';

/**
 * Nest's client with the hand-written loops of a careful developer. The feed resumes from its last cursor. Session messages that are pushed
 * while no call is open are queued for the next call. Messages that were sent but not acknowledged are not resent, because that requires
 * tracking them. Nest's client pushes messages, so unhandled events accumulate in memory without limit.
 */
export class TunedStreams implements StreamContender {
  readonly name = 'tuned';
  private readonly orders: OrdersClient;

  constructor(client: ClientGrpc) {
    this.orders = client.getService<OrdersClient>(ORDERS_SERVICE_NAME);
  }

  follow(from: string, handle: (event: OrderEvent) => Promise<void>, signal: AbortSignal): Promise<void> {
    let cursor = from;
    const events = defer(() => this.orders.watch({ from: cursor }, contenderMetadata(this.name))).pipe(
      tap(({ sequence }) => (cursor = sequence)),
      resubscribe(),
      concatMap(handle),
    );
    return untilAborted(events, signal);
  }

  async converse(orders: SessionOrders, signal: AbortSignal): Promise<void> {
    const unsent: SessionRequest[] = [];
    let session: Subscriber<SessionRequest> | undefined;
    const subscription = orders.pushed$.subscribe((message) => {
      if (session) session.next(message);
      else unsent.push(message);
    });
    const outgoing = new Observable<SessionRequest>((opened) => {
      for (const message of unsent.splice(0)) opened.next(message);
      session = opened;
      return () => (session = undefined);
    });
    await untilAborted(this.orders.session(outgoing, contenderMetadata(this.name)).pipe(resubscribe()), signal);
    subscription.unsubscribe();
  }
}
