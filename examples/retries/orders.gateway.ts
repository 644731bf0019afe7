import { Injectable, Module } from '@nestjs/common';
import { InjectGrpcService, ResilientGrpcModule, isGrpcCallError, type Resilient } from 'nestjs-resilient-grpc';
import { firstValueFrom } from 'rxjs';
import type { CreateOrderRequest, OrdersClient } from '../gen/orders.js';

@Injectable()
export class OrdersGateway {
  constructor(@InjectGrpcService('orders', 'Orders') private readonly orders: Resilient<OrdersClient>) {}

  get(id: string) {
    return firstValueFrom(this.orders.get({ id }));
  }

  // #region write
  /** Places an order, and says what the customer may do next if this fails. */
  async place(order: CreateOrderRequest): Promise<string> {
    try {
      return `placed as ${(await firstValueFrom(this.orders.create(order))).id}`;
    } catch (error) {
      if (!isGrpcCallError(error)) throw error;
      // The server did not get the call, so nothing happened.
      if (error.reachedServer === 'no') return 'not placed, try again';
      // The server got the call, and answered that it did nothing.
      if (isGrpcCallError(error, 'INVALID_ARGUMENT', 'FAILED_PRECONDITION')) return `rejected: ${error.details}`;
      // It may have been placed: look for it by its request id before you send it again.
      return `look for ${order.requestId}`;
    }
  }
  // #endregion
}

const url = process.env['ORDERS_URL'] ?? 'localhost:50051';

/** One line is enough: reads may be repeated, so they are. */
@Module({
  imports: [
    // #region idempotent
    ResilientGrpcModule.forFeature([
      {
        name: 'orders',
        url,
        protoPath: 'protos/orders.proto',
        methods: { 'Get*': { idempotent: true } }, // up to 4 attempts
      },
    ]),
    // #endregion
  ],
  providers: [OrdersGateway],
})
export class OrdersModule {}

/** The same, with a policy of your own. */
@Module({
  imports: [
    // #region policy
    ResilientGrpcModule.forFeature([
      {
        name: 'orders',
        url,
        protoPath: 'protos/orders.proto',
        methods: {
          'Get*': {
            retry: {
              maxAttempts: 3, // including the first
              initialBackoffMs: 50, // doubles with each retry, ±20%
              maxBackoffMs: 1_000,
              retryableStatusCodes: ['UNAVAILABLE', 'ABORTED'],
            },
          },
        },
      },
    ]),
    // #endregion
  ],
  providers: [OrdersGateway],
})
export class OrdersModuleWithPolicy {}
