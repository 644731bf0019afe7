import type { Metadata } from '@grpc/grpc-js';
import { type CallHandler, type ExecutionContext, Injectable, type NestInterceptor } from '@nestjs/common';
import type { Observable } from 'rxjs';
import type { DurableCounts } from './durable-counts.js';
import { RecentIds } from './recent-ids.js';

/** Metadata key of the contender's name. Requests are counted by this name. */
export const CONTENDER_KEY = 'x-contender';

/** Metadata key of a unary call's id. All attempts of the call send the same id. */
export const CALL_KEY = 'x-call';

/** Returns the name of the contender that sent a request. */
export function senderOf(metadata: Metadata): string {
  return String(metadata.get(CONTENDER_KEY)[0] ?? 'unnamed');
}

/**
 * Counts the requests, connections, and repeats of each contender before the requests are handled. A repeat is a request whose call this
 * process has already received.
 */
@Injectable()
export class ArrivalsInterceptor implements NestInterceptor {
  private readonly seen = new Set<string>();
  private readonly calls = new RecentIds();

  constructor(
    private readonly requests: DurableCounts,
    private readonly connections: DurableCounts,
    private readonly repeats: DurableCounts,
  ) {}

  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    // The arguments of every gRPC handler.
    const [, metadata, call] = context.getArgs<[unknown, Metadata, { getPeer(): string }]>();
    const sender = senderOf(metadata);
    this.requests.add(sender);
    const [id] = metadata.get(CALL_KEY);
    if (id !== undefined && !this.calls.add(String(id))) this.repeats.add(sender);
    const connection = `${sender} ${call.getPeer()}`;
    if (!this.seen.has(connection)) {
      this.seen.add(connection);
      this.connections.add(sender);
    }
    return next.handle();
  }
}
