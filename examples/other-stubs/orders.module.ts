// #region all
import { credentials } from '@grpc/grpc-js';
import { Module } from '@nestjs/common';
import { createClient } from 'nice-grpc';
import { ResilientGrpcModule, getGrpcClientToken, type ResilientGrpcClient } from 'nestjs-resilient-grpc';
import { OrdersClient, OrdersService } from '../ts-proto/gen/orders.pb.js';

export const NICE_ORDERS = Symbol('NICE_ORDERS');

@Module({
  imports: [
    ResilientGrpcModule.forFeature([
      { name: 'orders', url: 'orders:50051', package: 'orders.v1', protoPath: 'protos/orders.proto' },
    ]),
  ],
  providers: [
    {
      provide: NICE_ORDERS,
      inject: [getGrpcClientToken('orders')],
      useFactory: ({ channel }: ResilientGrpcClient) => createClient(OrdersService, channel),
    },
    {
      provide: OrdersClient, // the client that ts-proto generates for grpc-js
      inject: [getGrpcClientToken('orders')],
      useFactory: ({ channel }: ResilientGrpcClient) =>
        new OrdersClient('', credentials.createInsecure(), { channelOverride: channel }),
    },
  ],
})
export class OrdersModule {}
// #endregion
