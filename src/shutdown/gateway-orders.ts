import type { Observable } from 'rxjs';
import type { MethodConfig } from 'nestjs-resilient-grpc';
import type { Order, OrderEvent } from '../gen/orders.pb.js';

/** Token of {@link GatewayOrders}. */
export const GATEWAY_ORDERS = Symbol('orders of the gateway');

/** The calls of the gateway through the client of one contender. */
export interface GatewayOrders {
  get(id: string): Observable<Order>;
  /**
   * Emits the order with this id when it exists. Checks about every 30 s. Fails after the fourth check if the client uses {@link
   * ORDER_POLL_CONFIG}.
   */
  getWhenThere(id: string): Observable<Order>;
  /** Emits the orders after the cursor `from`, then new ones. */
  watch(from: string): Observable<OrderEvent>;
  /** Like {@link watch}, but resubscribes or resumes after lost connections. Ends when the application shuts down, except for `plain`. */
  feed(from: string): Observable<OrderEvent>;
  /** Resolves when the client has closed; `undefined` if the client does not report its close. */
  readonly closed?: Promise<void>;
}

/** Interval between two checks for an order that does not exist yet. */
export const ORDER_POLL_INTERVAL_MS = 30_000;

/** The method config with which a client checks again for an order that does not exist yet. */
export const ORDER_POLL_CONFIG: readonly MethodConfig[] = [
  {
    name: [{ service: 'orders.v1.Orders', method: 'Get' }],
    retryPolicy: {
      maxAttempts: 4,
      initialBackoff: `${ORDER_POLL_INTERVAL_MS / 1_000}s`,
      maxBackoff: `${ORDER_POLL_INTERVAL_MS / 1_000}s`,
      backoffMultiplier: 1,
      retryableStatusCodes: ['UNAVAILABLE', 'NOT_FOUND'],
    },
  },
];
