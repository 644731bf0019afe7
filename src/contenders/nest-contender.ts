import type { ClientGrpc } from '@nestjs/microservices';
import type { Observable } from 'rxjs';
import { type CreateOrderRequest, type Order, ORDERS_SERVICE_NAME, type OrdersClient } from '../gen/orders.pb.js';
import { type Contender, contenderMetadata, type ContenderName } from './contender.js';
import { isLostConnection } from './lost-connection.js';

/** Nest's own client, with the options it was given. */
export class NestContender implements Contender {
  readonly lostInFlight = isLostConnection;
  readonly #orders: OrdersClient;

  constructor(
    readonly name: ContenderName,
    client: ClientGrpc,
  ) {
    this.#orders = client.getService<OrdersClient>(ORDERS_SERVICE_NAME);
  }

  get(id: string): Observable<Order> {
    return this.#orders.get({ id }, contenderMetadata(this.name));
  }

  create(request: CreateOrderRequest): Observable<Order> {
    return this.#orders.create(request, contenderMetadata(this.name));
  }
}
