import { Injectable } from '@nestjs/common';
import {
  InjectGrpcClient,
  InjectGrpcService,
  isGrpcCallError,
  type Resilient,
  type ResilientGrpcClient,
} from 'nestjs-resilient-grpc';
import { type Observable, pairwise } from 'rxjs';
import { type CreateOrderRequest, type Order, ORDERS_SERVICE_NAME, type OrdersClient } from '../gen/orders.pb.js';
import { contenderMetadata, type Contender } from './contender.js';

/** Name of our client, which is part of its log lines. */
export const RESILIENT_CLIENT = 'orders';

/** Our client as a contender. */
@Injectable()
export class ResilientContender implements Contender {
  readonly name = 'resilient';
  private connectionLossCount = 0;

  constructor(
    @InjectGrpcService(RESILIENT_CLIENT, ORDERS_SERVICE_NAME) private readonly orders: Resilient<OrdersClient>,
    @InjectGrpcClient(RESILIENT_CLIENT) private readonly client: ResilientGrpcClient,
  ) {
    // Needs no unsubscription, because `connectivity$` completes when the client closes.
    client.connectivity$.pipe(pairwise()).subscribe(([before, now]) => {
      if (before.state === 'READY' && now.state !== 'READY') this.connectionLossCount += 1;
    });
  }

  get(id: string): Observable<Order> {
    return this.orders.get({ id }, contenderMetadata(this.name));
  }

  create(request: CreateOrderRequest): Observable<Order> {
    return this.orders.create(request, contenderMetadata(this.name));
  }

  lostInFlight(error: unknown): boolean {
    return isGrpcCallError(error) && error.reason === 'connection-lost' && error.reachedServer !== 'no';
  }

  waiting(): number {
    return this.client.snapshot().waiting;
  }

  connectionLosses(): number {
    return this.connectionLossCount;
  }
}
