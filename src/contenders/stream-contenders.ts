import { Injectable } from '@nestjs/common';
import type { ClientGrpc } from '@nestjs/microservices';
import { InjectGrpcService, type Resilient } from 'nestjs-resilient-grpc';
import { resumable } from 'nestjs-resilient-grpc/operators';
import { concatMap, defer, fromEvent, lastValueFrom, type Observable, repeat, retry, takeUntil, tap } from 'rxjs';
import { type OrderEvent, ORDERS_SERVICE_NAME, type OrdersClient } from '../gen/orders.pb.js';
import type { ContenderName } from './contender.js';
import { RESILIENT_CLIENT } from './resilient-contender.js';

/** Delay between the end of a stream and the next subscription. */
const RESUBSCRIBE_DELAY_MS = 1_000;
/**
 * Maximum idle time of the feed. The order log receives events continuously, so a longer silence means that the connection or the server
 * has failed.
 */
const IDLE_MS = 2_000;

/** A client that keeps streams to the upstream open across lost connections. */
export interface StreamContender {
  readonly name: ContenderName;
  /**
   * Follows the log after the cursor `from`. Handles one event at a time. Resolves when `signal` is aborted, or when the contender
   * considers the stream complete. Rejects if the contender stops retrying.
   */
  follow(from: string, handle: (event: OrderEvent) => Promise<void>, signal: AbortSignal): Promise<void>;
}

/**
 * The most common code with Nest's client: `retry({ delay: 1_000 })`, and `repeat` for servers that end streams cleanly. Each
 * resubscription repeats the call with its original request, so the feed restarts at its original cursor.
 */
export class PlainStreams implements StreamContender {
  readonly name = 'plain';
  private readonly orders: OrdersClient;

  constructor(client: ClientGrpc) {
    this.orders = client.getService<OrdersClient>(ORDERS_SERVICE_NAME);
  }

  follow(from: string, handle: (event: OrderEvent) => Promise<void>, signal: AbortSignal): Promise<void> {
    const events = this.orders.watch({ from });
    return untilAborted(events.pipe(resubscribe(), concatMap(handle)), signal);
  }
}

/**
 * Nest's client with the hand-written loop of a careful developer: the feed resumes from its last cursor. Nest's client pushes messages, so
 * unhandled events accumulate in memory without limit.
 */
export class TunedStreams implements StreamContender {
  readonly name = 'tuned';
  private readonly orders: OrdersClient;

  constructor(client: ClientGrpc) {
    this.orders = client.getService<OrdersClient>(ORDERS_SERVICE_NAME);
  }

  follow(from: string, handle: (event: OrderEvent) => Promise<void>, signal: AbortSignal): Promise<void> {
    let cursor = from;
    const events = defer(() => this.orders.watch({ from: cursor })).pipe(
      tap(({ sequence }) => (cursor = sequence)),
      resubscribe(),
      concatMap(handle),
    );
    return untilAborted(events, signal);
  }
}

/** Our client: `resumable`. */
@Injectable()
export class ResilientStreams implements StreamContender {
  readonly name = 'resilient';

  constructor(
    @InjectGrpcService(RESILIENT_CLIENT, ORDERS_SERVICE_NAME) private readonly orders: Resilient<OrdersClient>,
  ) {}

  async follow(from: string, handle: (event: OrderEvent) => Promise<void>, signal: AbortSignal): Promise<void> {
    const feed = resumable(
      (cursor: bigint) => this.orders.watch({ from: String(cursor) }, { streamIdleTimeoutMs: IDLE_MS }),
      {
        // Converts cursors to BigInt, because 64-bit cursors arrive as strings, and '9' > '10' as strings.
        cursor: ({ sequence }) => BigInt(sequence),
        seed: BigInt(from),
        // A clean end of a call means that the server is shutting down.
        onComplete: 'resume',
      },
    );
    const events = feed[Symbol.asyncIterator]();
    signal.addEventListener('abort', () => void events.return?.());
    for await (const event of events) await handle(event);
  }
}

/** Returns an operator that resubscribes to a stream a second after it has ended or failed. */
function resubscribe<T>(): (stream: Observable<T>) => Observable<T> {
  return (stream) => stream.pipe(retry({ delay: RESUBSCRIBE_DELAY_MS }), repeat({ delay: RESUBSCRIBE_DELAY_MS }));
}

/** Runs `work` until it completes or `signal` is aborted. Rejects if `work` fails. */
async function untilAborted(work: Observable<unknown>, signal: AbortSignal): Promise<void> {
  await lastValueFrom(work.pipe(takeUntil(fromEvent(signal, 'abort'))), { defaultValue: undefined });
}
