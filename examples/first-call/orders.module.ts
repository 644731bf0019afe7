// #region all
import { Controller, Get, Module, Param } from '@nestjs/common';
import { APP_FILTER } from '@nestjs/core';
import {
  GrpcToHttpExceptionFilter,
  InjectGrpcService,
  ResilientGrpcModule,
  type Resilient,
} from 'nestjs-resilient-grpc';
import type { Observable } from 'rxjs';

/** The methods that you call. ts-proto generates such interfaces with `nestJs=true`. */
interface OrdersClient {
  get(request: { id: string }): Observable<{ id: string; item: string }>;
}

@Controller('orders')
class OrdersController {
  constructor(@InjectGrpcService('orders', 'Orders') private readonly orders: Resilient<OrdersClient>) {}

  @Get(':id') get(@Param('id') id: string) {
    return this.orders.get({ id });
  }
}

const url = process.env['ORDERS_URL'] ?? 'localhost:50051';

@Module({
  imports: [
    ResilientGrpcModule.forRoot({ defaults: { timeoutMs: 10_000 } }), // a deadline for every unary call
    ResilientGrpcModule.forFeature([{ name: 'orders', url, protoPath: 'protos/orders.proto' }]),
  ],
  controllers: [OrdersController],
  providers: [{ provide: APP_FILTER, useClass: GrpcToHttpExceptionFilter }], // gRPC errors become HTTP statuses
})
export class OrdersModule {}
// #endregion
