import type { CallHandler, ExecutionContext, NestInterceptor } from '@nestjs/common';
import { Observable } from 'rxjs';
import { currentInbound, runInbound } from '../../client/caller/caller-context.js';
import type { Clock } from '../../time/clock.js';
import { GrpcInboundCall, serverCallOf } from './grpc-inbound-call.js';

/**
 * Captures inbound gRPC calls that this library's server strategy has not captured. It runs after guards, so the calls that guards make are
 * not bound to the inbound call.
 */
export class InboundInterceptor implements NestInterceptor {
  constructor(
    private readonly clock: Clock,
    private readonly capturesInbound: () => boolean,
  ) {}

  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    if (context.getType() !== 'rpc' || !this.capturesInbound()) return next.handle();
    const found = serverCallOf(context.getArgs());
    if (found === undefined || isCaptured(found.call)) return next.handle();
    const inbound = new GrpcInboundCall(found.call, this.clock);
    return new Observable((subscriber) =>
      runInbound(inbound, () =>
        next.handle().subscribe({
          next: (value: unknown) => {
            if (!inbound.streaming) inbound.end();
            subscriber.next(value);
          },
          error: (error: unknown) => {
            inbound.end();
            subscriber.error(error);
          },
          complete: () => {
            // The call of a handler that uses the stream directly is not marked as answered, because such a handler returns long before the
            // call ends.
            if (!found.isStreamHandler) inbound.end();
            subscriber.complete();
          },
        }),
      ),
    );
  }
}

function isCaptured(call: unknown): boolean {
  const current = currentInbound();
  return current instanceof GrpcInboundCall && current.call === call;
}
