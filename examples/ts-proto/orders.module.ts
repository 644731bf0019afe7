// #region all
import type { ServiceDefinition } from '@grpc/proto-loader';
import { Injectable, Module } from '@nestjs/common';
import { InjectGrpcService, ResilientGrpcModule, type Resilient } from 'nestjs-resilient-grpc';
import type { OrdersClient } from './gen/orders.nest.pb.js';
import { OrdersService } from './gen/orders.pb.js';

@Injectable()
export class OrdersGateway {
  constructor(@InjectGrpcService('orders', 'Orders') readonly orders: Resilient<OrdersClient>) {}
}

// proto-loader's type also has descriptors of the messages, which a client does not need.
const service = OrdersService as object as ServiceDefinition;

@Module({
  imports: [
    ResilientGrpcModule.forFeature([
      {
        name: 'orders',
        url: 'orders:50051',
        packageDefinition: { 'orders.v1.Orders': service },
        // The generated contract has no idempotency levels, and its method names start with a lowercase letter.
        methods: { get: { idempotent: true }, watch: { idempotent: true } },
      },
    ]),
  ],
  providers: [OrdersGateway],
})
export class OrdersModule {}
// #endregion
