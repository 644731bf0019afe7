import type { Observable } from 'rxjs';

export interface Order {
  id: string;
  item: string;
}

/** A part of the interface that ts-proto would generate. */
export interface OrdersClient {
  get(request: { id: string }): Observable<Order>;
  create(request: { requestId: string; item: string }): Observable<Order>;
  watch(request: { from: string }): Observable<{ sequence: string }>;
}

export interface FinderClient {
  find(request: { text: string }): Observable<{ text: string }>;
}
