import type { Resilient, ResilientGrpcClient } from 'nestjs-resilient-grpc';
import { lastValueFrom, type Observable } from 'rxjs';
import { contenderMetadata } from '../contenders/contender.js';
import { resilientFeed } from '../contenders/resilient-feed.js';
import { type Order, type OrderEvent, ORDERS_SERVICE_NAME, type OrdersClient } from '../gen/orders.pb.js';
import type { GatewayOrders } from './gateway-orders.js';

/** Our client. It needs no code for shutdown. */
export class ResilientGatewayOrders implements GatewayOrders {
  readonly closed: Promise<void>;
  private readonly orders: Resilient<OrdersClient>;

  constructor(client: ResilientGrpcClient) {
    this.orders = client.getService<OrdersClient>(ORDERS_SERVICE_NAME);
    this.closed = lastValueFrom(client.connectivity$).then(() => undefined);
  }

  get(id: string): Observable<Order> {
    return this.orders.get({ id }, contenderMetadata('resilient'));
  }

  getWhenThere(id: string): Observable<Order> {
    return this.get(id);
  }

  watch(from: string): Observable<OrderEvent> {
    return this.orders.watch({ from }, contenderMetadata('resilient'));
  }

  feed(from: string): Observable<OrderEvent> {
    return resilientFeed(this.orders, from, { metadata: contenderMetadata('resilient') });
  }
}
