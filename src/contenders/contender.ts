import type { Observable } from 'rxjs';
import type { CreateOrderRequest, Order } from '../gen/orders.pb.js';

/** Names of the contenders, in display order. */
export const CONTENDER_NAMES = ['plain', 'tuned', 'resilient'] as const;
export type ContenderName = (typeof CONTENDER_NAMES)[number];

/** A client of the upstream. All contenders get the same load. */
export interface Contender {
  readonly name: ContenderName;
  /** A read, which is safe to repeat. */
  get(id: string): Observable<Order>;
  /** A write, which is not safe to repeat. */
  create(request: CreateOrderRequest): Observable<Order>;
  /** True if `error` means that the connection was lost after the request was sent. The server may have applied the request. */
  lostInFlight(error: unknown): boolean;
}
