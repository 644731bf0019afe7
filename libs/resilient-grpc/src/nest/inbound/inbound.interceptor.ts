import type { CallHandler, ExecutionContext, NestInterceptor } from '@nestjs/common';
import { Observable } from 'rxjs';
import { currentInbound, runInbound } from '../../client/call/caller-context.js';
import type { Clock } from '../../time/clock.js';
import { GrpcInboundCall, serverCallOf } from './grpc-inbound-call.js';
import type { PropagationNotes } from '../../call/inbound-call.js';

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

/** Warns once per key if metadata cannot be forwarded. */
export class InboundWatch implements PropagationNotes {
  private readonly droppedKeys = new Set<string>();

  constructor(private readonly warn: (message: string) => void) {}

  dropped(key: string, problem: string): void {
    if (this.droppedKeys.has(key)) return;
    this.droppedKeys.add(key);
    const remedy = key.endsWith('-bin')
      ? ''
      : `. To forward any value, let the caller send it as '${key}-bin', in base64, and propagate that key`;
    this.warn(`propagate.metadata: a value of '${key}' is not forwarded: ${problem}${remedy}`);
  }
}
