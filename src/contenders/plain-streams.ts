import type { ClientGrpc } from '@nestjs/microservices';
import { concatMap, fromEvent, lastValueFrom, type Observable, repeat, retry, takeUntil } from 'rxjs';
import { type OrderEvent, ORDERS_SERVICE_NAME, type OrdersClient } from '../gen/orders.pb.js';
import type { SessionOrders } from '../load/session-orders.js';
import { contenderMetadata } from './contender.js';
import type { StreamContender } from './stream-contender.js';

/** Between the end of a stream and the next try. */
const AGAIN_MS = 1_000;

/**
 * What is written most, around Nest's client as it is: `retry({ delay: 1_000 })`, and `repeat` for servers that end streams in order.
 * Each subscription makes the call anew with the request it was given once, so the feed begins again where it began the first
 * time. What the session was given to send while there was none is gone.
 */
export class PlainStreams implements StreamContender {
  readonly name = 'plain';
  private readonly orders: OrdersClient;

  constructor(client: ClientGrpc) {
    this.orders = client.getService<OrdersClient>(ORDERS_SERVICE_NAME);
  }

  follow(from: string, handle: (event: OrderEvent) => Promise<void>, signal: AbortSignal): Promise<void> {
    const events = this.orders.watch({ from }, contenderMetadata(this.name));
    return untilAborted(events.pipe(again(), concatMap(handle)), signal);
  }

  converse(orders: SessionOrders, signal: AbortSignal): Promise<void> {
    const replies = this.orders.session(orders.pushed$, contenderMetadata(this.name));
    return untilAborted(replies.pipe(again()), signal);
  }
}

/** Subscribes again a second after a stream has ended, however it ended. */
export function again<T>(): (stream: Observable<T>) => Observable<T> {
  return (stream) => stream.pipe(retry({ delay: AGAIN_MS }), repeat({ delay: AGAIN_MS }));
}

/** Runs `work` until `signal` aborts. */
export async function untilAborted(work: Observable<unknown>, signal: AbortSignal): Promise<void> {
  await lastValueFrom(work.pipe(takeUntil(fromEvent(signal, 'abort'))), { defaultValue: undefined });
}
