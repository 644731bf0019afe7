import { setTimeout as delay } from 'node:timers/promises';
import { Controller } from '@nestjs/common';
import { GrpcMethod, Payload } from '@nestjs/microservices';
import { CallSignal, GrpcException } from 'nestjs-resilient-grpc/server';
import { map, type Observable, timer } from 'rxjs';
import type { CreateOrderRequest, GetOrderRequest, Order, OrderEvent, WatchRequest } from '../gen/orders.pb.js';
import { OrderLog } from './order-log.js';
import { NORMAL_WORK } from './messages.js';

/** The current work settings of the upstream. */
export class Workload {
  now = NORMAL_WORK;

  /** Returns the duration of the next read. */
  nextReadMs(): number {
    return this.now.readMs * (0.9 + 0.2 * Math.random());
  }
}

/** Implements `orders.v1.Orders` with a log. Does not detect repeated requests. */
@Controller()
export class OrdersController {
  constructor(
    private readonly log: OrderLog,
    private readonly workload: Workload,
  ) {}

  /** Returns an Observable, so that a cancelled call does not read the order. */
  @GrpcMethod('Orders')
  get({ id }: GetOrderRequest): Observable<Order> {
    return timer(this.workload.nextReadMs()).pipe(
      map(() => {
        const order = this.log.get(id);
        if (!order) throw new GrpcException('NOT_FOUND', `no order ${id}`);
        return order;
      }),
    );
  }

  /**
   * Applies the order halfway through the call, like a database that commits and then replicates. If the connection is lost during the
   * call, the caller cannot determine whether the order was applied.
   */
  @GrpcMethod('Orders')
  async create(request: CreateOrderRequest): Promise<Order> {
    const { writeMs } = this.workload.now;
    await delay(writeMs / 2);
    const order = this.log.append(request);
    await delay(writeMs / 2);
    return order;
  }

  /** A generator, so that orders are read from the log at the pace of the client instead of being buffered for each call. */
  @GrpcMethod('Orders')
  async *watch(@Payload() { from }: WatchRequest, @CallSignal() signal: AbortSignal): AsyncGenerator<OrderEvent> {
    for await (const order of this.log.follow(BigInt(from), signal)) yield { sequence: order.sequence, order };
  }
}
