import { Body, Controller, Get, NotFoundException, Param, Post, Query } from '@nestjs/common';
import { InjectGrpcService, isGrpcCallError, type Resilient } from 'nestjs-resilient-grpc';
import { catchError, type Observable, throwError } from 'rxjs';
import { RESILIENT_CLIENT } from '../contenders/resilient-contender.js';
import { type CreateOrderRequest, type Order, ORDERS_SERVICE_NAME, type OrdersClient } from '../gen/orders.pb.js';

/** Orders over HTTP through our client, as in an application. */
@Controller('orders')
export class OrdersController {
  constructor(
    @InjectGrpcService(RESILIENT_CLIENT, ORDERS_SERVICE_NAME) private readonly orders: Resilient<OrdersClient>,
  ) {}

  @Get(':id')
  get(@Param('id') id: string): Observable<Order> {
    return this.orders
      .get({ id }, { timeoutMs: 2_000 })
      .pipe(
        catchError((error: unknown) =>
          throwError(() => (isGrpcCallError(error, 'NOT_FOUND') ? new NotFoundException(error.details) : error)),
        ),
      );
  }

  @Post()
  create(@Body() { requestId, item, quantity }: CreateOrderRequest): Observable<Order> {
    return this.orders.create({ requestId, item, quantity }, { timeoutMs: 2_000 });
  }

  /** Streams the log after a cursor, then new orders, as JSON lines, at the pace of the HTTP client. */
  @Get()
  async *watch(@Query('from') from = '0'): AsyncGenerator<Order> {
    for await (const { order } of this.orders.watch({ from })) if (order) yield order;
  }
}
