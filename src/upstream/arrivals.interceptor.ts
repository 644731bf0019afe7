import type { Metadata } from '@grpc/grpc-js';
import { type CallHandler, type ExecutionContext, Injectable, type NestInterceptor } from '@nestjs/common';
import type { Observable } from 'rxjs';
import type { DurableCounts } from './durable-counts.js';

/** Metadata key of the contender's name. Requests are counted by this name. */
export const CONTENDER_KEY = 'x-contender';

/** Returns the name of the contender that sent a request. */
function senderOf(metadata: Metadata): string {
  return String(metadata.get(CONTENDER_KEY)[0] ?? 'unnamed');
}

/** Counts the requests and connections of each contender before the requests are handled. */
@Injectable()
export class ArrivalsInterceptor implements NestInterceptor {
  private readonly seen = new Set<string>();

  constructor(
    private readonly requests: DurableCounts,
    private readonly connections: DurableCounts,
  ) {}

  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    // The arguments of every gRPC handler.
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
