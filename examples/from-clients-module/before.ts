// #region all
import { Module } from '@nestjs/common';
import { ClientsModule, Transport } from '@nestjs/microservices';

const url = process.env['ORDERS_URL'] ?? 'localhost:50051';
const options = { url, package: 'orders.v1', protoPath: 'protos/orders.proto' };

@Module({
  imports: [ClientsModule.register([{ name: 'orders', transport: Transport.GRPC, options }])],
  exports: [ClientsModule],
})
export class OrdersClientModule {}
// #endregion
