import type { ClientGrpc } from '@nestjs/microservices';
import { concatMap, fromEvent, lastValueFrom, type Observable, repeat, retry, takeUntil } from 'rxjs';
import { type OrderEvent, ORDERS_SERVICE_NAME, type OrdersClient } from '../gen/orders.pb.js';
import type { SessionOrders } from '../load/session-orders.js';
import { contenderMetadata } from './contender.js';
import type { StreamContender } from './stream-contender.js';

/** Delay between the end of a stream and the next subscription. */
const RESUBSCRIBE_DELAY_MS = 1_000;

/**
 * The most common code with Nest's client: `retry({ delay: 1_000 })`, and `repeat` for servers that end streams cleanly. Each
 * resubscription repeats the call with its original request, so the feed restarts at its original cursor. Session messages that are pushed
 * while no call is open are lost.
 */
export class PlainStreams implements StreamContender {
  readonly name = 'plain';
  private readonly orders: OrdersClient;

  constructor(client: ClientGrpc) {
    this.orders = client.getService<OrdersClient>(ORDERS_SERVICE_NAME);
  }

  follow(from: string, handle: (event: OrderEvent) => Promise<void>, signal: AbortSignal): Promise<void> {
    const events = this.orders.watch({ from }, contenderMetadata(this.name));
    return untilAborted(events.pipe(resubscribe(), concatMap(handle)), signal);
  }

  converse(orders: SessionOrders, signal: AbortSignal): Promise<void> {
    const replies = this.orders.session(orders.pushed$, contenderMetadata(this.name));
    return untilAborted(replies.pipe(resubscribe()), signal);
  }
}

/** Returns an operator that resubscribes to a stream a second after it has ended or failed. */
export function resubscribe<T>(): (stream: Observable<T>) => Observable<T> {
  return (stream) => stream.pipe(retry({ delay: RESUBSCRIBE_DELAY_MS }), repeat({ delay: RESUBSCRIBE_DELAY_MS }));
}

/** Runs `work` until it completes or `signal` is aborted. Rejects if `work` fails. */
export async function untilAborted(work: Observable<unknown>, signal: AbortSignal): Promise<void> {
  await lastValueFrom(work.pipe(takeUntil(fromEvent(signal, 'abort'))), { defaultValue: undefined });
}
