// #region all
import { Controller, Get, Param } from '@nestjs/common';
import { InjectGrpcService, type Resilient } from 'nestjs-resilient-grpc';
import type { OrdersClient } from '../gen/orders.js';

@Controller('orders')
export class ExportController {
  constructor(@InjectGrpcService('orders', 'Orders') private readonly orders: Resilient<OrdersClient>) {}

  @Get('since/:from') async *since(@Param('from') from: string) {
    for await (const { sequence, order } of this.orders.watch({ from })) yield { sequence, item: order?.item };
  }
}
// #endregion
