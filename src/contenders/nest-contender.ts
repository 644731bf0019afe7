import { type CallOptions, Metadata } from '@grpc/grpc-js';
import type { ClientGrpc } from '@nestjs/microservices';
import type { Observable } from 'rxjs';
import { type CreateOrderRequest, type GetOrderRequest, type Order, ORDERS_SERVICE_NAME } from '../gen/orders.pb.js';
import type { Contender, ContenderName } from './contender.js';
import { isLostConnection } from './lost-connection.js';

/**
 * The unary methods with the call options that Nest passes to grpc-js. The interface generated from the proto does not declare these
 * options.
 */
interface UnaryOrders {
  get(request: GetOrderRequest, metadata: Metadata, options: CallOptions): Observable<Order>;
  create(request: CreateOrderRequest, metadata: Metadata, options: CallOptions): Observable<Order>;
}

/** Nest's own client as a contender. */
export class NestContender implements Contender {
  readonly lostInFlight = isLostConnection;
  private readonly orders: UnaryOrders;

  /** @param callTimeoutMs time until the deadline of each call */
  constructor(
    readonly name: ContenderName,
    client: ClientGrpc,
    private readonly callTimeoutMs: number,
  ) {
    this.orders = client.getService<UnaryOrders>(ORDERS_SERVICE_NAME);
  }

  get(id: string): Observable<Order> {
    return this.orders.get({ id }, new Metadata(), this.options());
  }

  create(request: CreateOrderRequest): Observable<Order> {
    return this.orders.create(request, new Metadata(), this.options());
  }

  // grpc-js expects a deadline as a point in time. The deadline set here is correct because callers subscribe immediately.
  private options(): CallOptions {
    return { deadline: Date.now() + this.callTimeoutMs };
  }
}
