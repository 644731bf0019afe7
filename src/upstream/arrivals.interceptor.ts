import type { Metadata } from '@grpc/grpc-js';
import { type CallHandler, type ExecutionContext, Injectable, type NestInterceptor } from '@nestjs/common';
import type { Observable } from 'rxjs';
import type { DurableCounts } from './durable-counts.js';

/** The key by which callers say who they are, so that requests are counted for each. */
export const CONTENDER_KEY = 'x-contender';

/** Who sent a request. */
export function senderOf(metadata: Metadata): string {
  return String(metadata.get(CONTENDER_KEY)[0] ?? 'unnamed');
}

/** Counts requests by who sent them, and connections by whose requests came over them, before they are handled. */
@Injectable()
export class ArrivalsInterceptor implements NestInterceptor {
  private readonly seen = new Set<string>();

  constructor(
    private readonly requests: DurableCounts,
    private readonly connections: DurableCounts,
  ) {}

  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    // What every handler of a gRPC method is called with.
    const [, metadata, call] = context.getArgs<[unknown, Metadata, { getPeer(): string }]>();
    const sender = senderOf(metadata);
    this.requests.add(sender);
    const connection = `${sender} ${call.getPeer()}`;
    if (!this.seen.has(connection)) {
      this.seen.add(connection);
      this.connections.add(sender);
    }
    return next.handle();
  }
}
