/** A company's own client of the orders. It brings nestjs-resilient-grpc, so an application may have a second copy of it. */
import { Injectable, Module, type DynamicModule } from '@nestjs/common';
import { InjectGrpcService, ResilientGrpcModule, type Resilient } from 'nestjs-resilient-grpc';
import { firstValueFrom, type Observable } from 'rxjs';

/** An order, as far as this client tells of it. */
export interface Order {
  readonly id: string;
  readonly item: string;
}

/** The service, by hand. */
export interface OrdersClient {
  get(request: { id: string }): Observable<Order>;
  watch(request: { from: string }): Observable<{ sequence: string }>;
}

/** What the services of the company call. */
@Injectable()
export class Orders {
  constructor(@InjectGrpcService('orders', 'Orders') readonly service: Resilient<OrdersClient>) {}

  order(id: string): Promise<Order> {
    return firstValueFrom(this.service.get({ id }, { timeoutMs: 60_000 }));
  }
}

/** Gives `Orders`, and the client itself. */
@Module({})
export class OrdersClientModule {
  static register(url: string): DynamicModule {
    return {
      module: OrdersClientModule,
      imports: [
        ResilientGrpcModule.forFeature([
          { name: 'orders', url, protoPath: 'protos/orders.proto', loader: { longs: String }, outageGraceMs: 60_000 },
        ]),
      ],
      providers: [Orders],
      exports: [Orders, ResilientGrpcModule],
    };
  }
}
