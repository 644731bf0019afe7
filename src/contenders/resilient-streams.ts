import { Injectable } from '@nestjs/common';
import { InjectGrpcService, type Resilient } from 'nestjs-resilient-grpc';
import { replayUnacknowledged } from 'nestjs-resilient-grpc/operators';
import { type OrderEvent, ORDERS_SERVICE_NAME, type OrdersClient, type SessionRequest } from '../gen/orders.pb.js';
import type { SessionOrders } from '../load/session-orders.js';
import { contenderMetadata } from './contender.js';
import { untilAborted } from './plain-streams.js';
import { RESILIENT_CLIENT } from './resilient-contender.js';
import { resilientFeed } from './resilient-feed.js';
import type { StreamContender } from './stream-contender.js';

/**
 * Maximum idle time of the feed, and maximum wait of the session for an acknowledgment. The order log receives events continuously, so a
 * longer silence means that the connection or the server has failed.
 */
const IDLE_MS = 2_000;
/**
 * Maximum number of unacknowledged messages, slightly more than one second of orders. At this limit, the client stops reading messages
 * from the source.
 */
const MAX_UNACKNOWLEDGED = 64;

/** Our client: `resumable` for the feed, `replayUnacknowledged` for the session. */
@Injectable()
export class ResilientStreams implements StreamContender {
  readonly name = 'resilient';

  constructor(
    @InjectGrpcService(RESILIENT_CLIENT, ORDERS_SERVICE_NAME) private readonly orders: Resilient<OrdersClient>,
  ) {}

  async follow(from: string, handle: (event: OrderEvent) => Promise<void>, signal: AbortSignal): Promise<void> {
    const events = resilientFeed(this.orders, from, {
      metadata: contenderMetadata(this.name),
      streamIdleTimeoutMs: IDLE_MS,
    })[Symbol.asyncIterator]();
    signal.addEventListener('abort', () => void events.return?.());
    for await (const event of events) await handle(event);
  }

  async converse(orders: SessionOrders, signal: AbortSignal): Promise<void> {
    const options = { metadata: contenderMetadata(this.name) };
    const replies = replayUnacknowledged(
      (outgoing: AsyncIterable<SessionRequest>) => this.orders.session(outgoing, options),
      orders.pulled(),
      {
        id: ({ messageId }) => messageId,
        acknowledges: ({ messageId }) => messageId,
        maxUnacknowledged: MAX_UNACKNOWLEDGED,
        acknowledgmentTimeoutMs: IDLE_MS,
      },
    );
    await untilAborted(replies, signal);
  }
}
