import { Metadata } from '@grpc/grpc-js';
import type { Observable } from 'rxjs';
import type { CreateOrderRequest, Order } from '../gen/orders.pb.js';
import { CONTENDER_KEY } from '../upstream/arrivals.interceptor.js';

/** Who takes part, in the order in which they are shown. */
export const CONTENDER_NAMES = ['plain', 'tuned', 'resilient'] as const;
export type ContenderName = (typeof CONTENDER_NAMES)[number];

/** A way to call the upstream, that takes the same load as the others. */
export interface Contender {
  readonly name: ContenderName;
  /** A read: safe to repeat. */
  get(id: string): Observable<Order>;
  /** A write: not safe to repeat. */
  create(request: CreateOrderRequest): Observable<Order>;
  /** Whether `error` says that the connection was lost after the request had been sent, so that nobody knows if it was applied. */
  lostInFlight(error: unknown): boolean;
  /** Calls held back until there is a connection, where the contender knows. */
  waiting?(): number;
  /** How often there was a connection and then none, so far, where the contender knows. */
  timesAway?(): number;
}

/** Says to the upstream whose request it is. */
export function contenderMetadata(name: ContenderName): Metadata {
  const metadata = new Metadata();
  metadata.set(CONTENDER_KEY, name);
  return metadata;
}
