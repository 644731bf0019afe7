// #region all
import { Injectable, Module } from '@nestjs/common';
import { InjectGrpcService, ResilientGrpcModule, type Resilient } from 'nestjs-resilient-grpc';
import { contractOf, type ClientOf } from './contract.js';
import { Orders } from './gen/orders_pb.js';

@Injectable()
export class OrdersGateway {
  constructor(@InjectGrpcService('orders', 'Orders') readonly orders: Resilient<ClientOf<typeof Orders>>) {}
}

@Module({
  imports: [
    ResilientGrpcModule.forFeature([{ name: 'orders', url: 'orders:50051', packageDefinition: contractOf(Orders) }]),
  ],
  providers: [OrdersGateway],
})
export class OrdersModule {}
// #endregion
