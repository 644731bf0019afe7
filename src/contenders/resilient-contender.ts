import { Injectable } from '@nestjs/common';
import { InjectGrpcService, isGrpcCallError, type Resilient } from 'nestjs-resilient-grpc';
import type { Observable } from 'rxjs';
import { type CreateOrderRequest, type Order, ORDERS_SERVICE_NAME, type OrdersClient } from '../gen/orders.pb.js';
import type { Contender } from './contender.js';

/** Name of our client, which is part of its log lines. */
export const RESILIENT_CLIENT = 'orders';

/** Our client as a contender. */
@Injectable()
export class ResilientContender implements Contender {
  readonly name = 'resilient';

  constructor(
    @InjectGrpcService(RESILIENT_CLIENT, ORDERS_SERVICE_NAME) private readonly orders: Resilient<OrdersClient>,
  ) {}

  get(id: string): Observable<Order> {
    return this.orders.get({ id });
  }

  create(request: CreateOrderRequest): Observable<Order> {
    return this.orders.create(request);
  }

  lostInFlight(error: unknown): boolean {
    return isGrpcCallError(error) && error.reason === 'connection-lost' && error.reachedServer !== 'no';
  }
}
