// #region all
import { Module } from '@nestjs/common';
import { Transport } from '@nestjs/microservices';
import { ResilientGrpcModule } from 'nestjs-resilient-grpc';

const url = process.env['ORDERS_URL'] ?? 'localhost:50051';
const options = { url, package: 'orders.v1', protoPath: 'protos/orders.proto' };

@Module({
  imports: [ResilientGrpcModule.forFeature([{ name: 'orders', transport: Transport.GRPC, options }])],
  exports: [ResilientGrpcModule],
})
export class OrdersClientModule {}
// #endregion
