/** A service as in the README, and the module that provides it. */
import { Injectable, Module } from '@nestjs/common';
import type { ClientOptions, GrpcOptions } from '@nestjs/microservices';
import { InjectGrpcService, ResilientGrpcModule, isGrpcCallError, type Resilient } from 'nestjs-resilient-grpc';
import { firstValueFrom, type Observable } from 'rxjs';

interface OrdersClient {
  get(request: { id: string }): Observable<{ id: string; item: string }>;
}

@Injectable()
export class Shop {
  constructor(@InjectGrpcService('orders', 'Orders') private readonly orders: Resilient<OrdersClient>) {}

  /** Returns the ordered item; `undefined` if the order does not exist. */
  async item(id: string): Promise<string | undefined> {
    try {
      return (await firstValueFrom(this.orders.get({ id }, { timeoutMs: 60_000 }))).item;
    } catch (error) {
      if (isGrpcCallError(error, 'NOT_FOUND')) return undefined;
      throw error;
    }
  }
}

@Module({
  imports: [ResilientGrpcModule.forFeature([{ name: 'orders', url: 'orders:50051', protoPath: 'orders.proto' }])],
  providers: [Shop],
})
export class ShopModule {}

/** Compiles only if TypeScript accepts spread options of Nest's types. Never called. */
export const withSharedOptions = (shared: ClientOptions, grpc: GrpcOptions, url: string) =>
  ResilientGrpcModule.forFeature([
    { name: 'first', ...shared, timeoutMs: 60_000 },
    { name: 'second', ...grpc },
    { name: 'third', url, ...grpc },
    { name: 'fourth', ...grpc, url, timeoutMs: 60_000 },
  ]);
