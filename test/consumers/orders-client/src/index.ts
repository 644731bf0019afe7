/** A company's own client of the orders service. An application that uses it may contain two copies of nestjs-resilient-grpc. */
import { Injectable, Module, type DynamicModule } from '@nestjs/common';
import { InjectGrpcService, ResilientGrpcModule, type Resilient } from 'nestjs-resilient-grpc';
import { firstValueFrom, type Observable } from 'rxjs';

/** The fields of an order that this client exposes. */
export interface Order {
  readonly id: string;
  readonly item: string;
}

/** The handwritten interface of the service. */
export interface OrdersClient {
  get(request: { id: string }): Observable<Order>;
  watch(request: { from: string }): Observable<{ sequence: string }>;
}

/** The client that the company's services inject. */
@Injectable()
export class Orders {
  constructor(@InjectGrpcService('orders', 'Orders') readonly service: Resilient<OrdersClient>) {}

  order(id: string): Promise<Order> {
    return firstValueFrom(this.service.get({ id }, { timeoutMs: 60_000 }));
  }
}

/** Exports `Orders` and the client itself. */
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
