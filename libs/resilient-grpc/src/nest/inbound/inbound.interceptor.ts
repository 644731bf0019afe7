import type { CallHandler, ExecutionContext, NestInterceptor } from '@nestjs/common';
import { Observable } from 'rxjs';
import { currentInbound, runInbound } from '../../client/inbound-context.js';
import type { Clock } from '../../time/clock.js';
import { GrpcInboundCall, serverCallOf } from './grpc-inbound-call.js';

/**
 * Captures inbound gRPC calls where no server strategy of ours has. It comes after guards, so that what they call is not bound
 * to the inbound call.
 */
export class InboundInterceptor implements NestInterceptor {
  constructor(
    private readonly clock: Clock,
    /** Off, where nothing is handed on. */
    private readonly wanted: () => boolean,
  ) {}

  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    if (context.getType() !== 'rpc' || !this.wanted()) return next.handle();
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
            // A handler that works on the stream itself has returned long before the call ends.
            if (!found.ownStream) inbound.end();
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
