// #region all
import { Injectable, Module } from '@nestjs/common';
import { InjectGrpcService, ResilientGrpcModule, isGrpcCallError, type Resilient } from 'nestjs-resilient-grpc';
import { firstValueFrom } from 'rxjs';
import type { OrdersClient } from '../gen/orders.js';

@Injectable()
export class Shop {
  constructor(@InjectGrpcService('orders', 'Orders') private readonly orders: Resilient<OrdersClient>) {}

  /** Returns the ordered item; `undefined` if the order does not exist. */
  async item(id: string): Promise<string | undefined> {
    try {
      return (await firstValueFrom(this.orders.get({ id }, { timeoutMs: 10_000 }))).item;
    } catch (error) {
      if (isGrpcCallError(error, 'NOT_FOUND')) return undefined;
      throw error;
    }
  }
}

@Module({
  imports: [
    ResilientGrpcModule.forFeature([{ name: 'orders', url: 'orders:50051', protoPath: 'protos/orders.proto' }]),
  ],
  providers: [Shop],
})
export class ShopModule {}
// #endregion
