import type { ServerResponse } from 'node:http';
import { Controller, Get, Inject, Param, Query, Res } from '@nestjs/common';
import { type Observable, takeWhile } from 'rxjs';
import type { Order } from '../gen/orders.pb.js';
import { GATEWAY_ORDERS, type GatewayOrders } from './gateway-orders.js';

/** Orders over HTTP, the same for all contenders. */
@Controller()
export class OrdersGatewayController {
  constructor(@Inject(GATEWAY_ORDERS) private readonly orders: GatewayOrders) {}

  @Get('orders/:id')
  get(@Param('id') id: string): Observable<Order> {
    return this.orders.get(id);
  }

  /** Streams all orders up to and including the sequence `until` as JSON lines. Destroys the connection if the stream fails. */
  @Get('export')
  export(@Query('until') until: string, @Res() response: ServerResponse): void {
    const subscription = this.orders
      .watch('0')
      .pipe(takeWhile(({ sequence }) => sequence !== until, true))
      .subscribe({
        next: ({ order }) => response.write(`${JSON.stringify(order)}\n`),
        error: () => response.destroy(),
        complete: () => response.end(),
      });
    response.once('close', () => {
      subscription.unsubscribe();
    });
  }
}
