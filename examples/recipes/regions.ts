// #region all
import { Injectable } from '@nestjs/common';
import { InjectGrpcService, isGrpcCallError, type Resilient } from 'nestjs-resilient-grpc';
import { catchError, throwError, type Observable } from 'rxjs';
import type { CreateOrderRequest, Order, OrdersClient } from '../gen/orders.js';

@Injectable()
export class OrdersOfBothRegions {
  constructor(
    @InjectGrpcService('orders-near', 'Orders') private readonly near: Resilient<OrdersClient>,
    @InjectGrpcService('orders-far', 'Orders') private readonly far: Resilient<OrdersClient>,
  ) {}

  /** Sends a read to the other region if this one is unavailable, or does not respond in time. */
  get(id: string): Observable<Order> {
    return this.near.get({ id }, { timeoutMs: 2_000, waitForReady: false }).pipe(
      catchError((error: unknown) => {
        const failsOver = isGrpcCallError(error, 'UNAVAILABLE', 'DEADLINE_EXCEEDED');
        return failsOver ? this.far.get({ id }, { timeoutMs: 2_000 }) : throwError(() => error);
      }),
    );
  }

  /** Sends a write to the other region only if it reached no server in this one. */
  create(order: CreateOrderRequest): Observable<Order> {
    return this.near.create(order, { timeoutMs: 2_000, waitForReady: false }).pipe(
      catchError((error: unknown) => {
        const failsOver = isGrpcCallError(error, 'UNAVAILABLE', 'DEADLINE_EXCEEDED') && error.reachedServer === 'no';
        return failsOver ? this.far.create(order, { timeoutMs: 2_000 }) : throwError(() => error);
      }),
    );
  }
}
// #endregion
