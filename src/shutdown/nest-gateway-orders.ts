import type { BeforeApplicationShutdown } from '@nestjs/common';
import type { ClientGrpc } from '@nestjs/microservices';
import { type Observable, retry, Subject, takeUntil } from 'rxjs';
import { contenderMetadata, type ContenderName } from '../contenders/contender.js';
import { resubscribe } from '../contenders/plain-streams.js';
import { type Order, type OrderEvent, ORDERS_SERVICE_NAME, type OrdersClient } from '../gen/orders.pb.js';
import { type GatewayOrders, ORDER_POLL_INTERVAL_MS } from './gateway-orders.js';

/** Nest's client with RxJS operators. */
export class PlainGatewayOrders implements GatewayOrders {
  private readonly orders: OrdersClient;

  constructor(
    client: ClientGrpc,
    private readonly name: ContenderName = 'plain',
  ) {
    this.orders = client.getService<OrdersClient>(ORDERS_SERVICE_NAME);
  }

  get(id: string): Observable<Order> {
    return this.orders.get({ id }, contenderMetadata(this.name));
  }

  getWhenThere(id: string): Observable<Order> {
    return this.get(id).pipe(retry({ delay: ORDER_POLL_INTERVAL_MS }));
  }

  watch(from: string): Observable<OrderEvent> {
    return this.orders.watch({ from }, contenderMetadata(this.name));
  }

  feed(from: string): Observable<OrderEvent> {
    return this.watch(from).pipe(resubscribe());
  }
}

/** Nest's client with a retryPolicy, in a service that ends its feed at shutdown, as a careful developer would write it. */
export class TunedGatewayOrders extends PlainGatewayOrders implements BeforeApplicationShutdown {
  private readonly stopping = new Subject<void>();

  constructor(client: ClientGrpc) {
    super(client, 'tuned');
  }

  override getWhenThere(id: string): Observable<Order> {
    return this.get(id);
  }

  override feed(from: string): Observable<OrderEvent> {
    return super.feed(from).pipe(takeUntil(this.stopping));
  }

  beforeApplicationShutdown(): void {
    this.stopping.next();
  }
}
