import type { Observable } from 'rxjs';
import type { MethodConfig } from 'nestjs-resilient-grpc';
import type { Order, OrderEvent } from '../gen/orders.pb.js';

/** Token of {@link GatewayOrders}. */
export const GATEWAY_ORDERS = Symbol('orders of the gateway');

/** What the gateway does with the upstream, through the client of one contender. */
export interface GatewayOrders {
  get(id: string): Observable<Order>;
  /** The order of this id, as soon as there is one: looked for again every half minute. */
  getWhenThere(id: string): Observable<Order>;
  /** The log after a cursor, then what happens. */
  watch(from: string): Observable<OrderEvent>;
  /** The same for as long as the application runs, whatever becomes of its connections. */
  feed(from: string): Observable<OrderEvent>;
  /** Resolves when the client has closed, where it says so. */
  readonly closed?: Promise<void>;
}

/** Between two looks for an order that is not there. */
export const LOOK_AGAIN_MS = 30_000;

/** An order that is not there yet is looked for again, in the words of a service config. */
export const LOOK_AGAIN: readonly MethodConfig[] = [
  {
    name: [{ service: 'orders.v1.Orders', method: 'Get' }],
    retryPolicy: {
      maxAttempts: 4,
      initialBackoff: `${LOOK_AGAIN_MS / 1_000}s`,
      maxBackoff: `${LOOK_AGAIN_MS / 1_000}s`,
      backoffMultiplier: 1,
      retryableStatusCodes: ['UNAVAILABLE', 'NOT_FOUND'],
    },
  },
];
