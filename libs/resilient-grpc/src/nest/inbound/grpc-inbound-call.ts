import { setMaxListeners } from 'node:events';
import type { Metadata } from '@grpc/grpc-js';
import type { CapturedCall } from '../../call/inbound-call.js';
import { CHAIN_MARK, isRetry, PREVIOUS_ATTEMPTS } from '../../policy/retry/chain-stop.js';
import { moment, type Clock } from '../../time/clock.js';

/** What is read of grpc-js's call, of any kind of method. */
export interface GrpcServerCall {
  readonly metadata: Metadata;
  readonly cancelled: boolean;
  /** Only of methods that stream: the response was ended by this side. */
  readonly writableEnded?: boolean;
  getDeadline(): Date | number;
  once(event: 'cancelled', listener: () => void): unknown;
}

/** A gRPC call that is being served. */
export class GrpcInboundCall implements CapturedCall {
  readonly kind = 'grpc';
  readonly retry: boolean;
  readonly streaming: boolean;
  readonly startedAt: number;
  readonly deadline?: Date;
  private controller: AbortController | undefined;
  private answered = false;
  private stoppedBy: Error | undefined;

  constructor(
    readonly call: GrpcServerCall,
    clock: Clock,
    /** What its server knows of it. */
    known?: { readonly streaming: boolean; readonly startedAt: number },
  ) {
    this.startedAt = known?.startedAt ?? clock.now();
    this.streaming = known?.streaming ?? ('read' in call || 'write' in call);
    this.retry = isRetry(this.get(PREVIOUS_ATTEMPTS), this.get(CHAIN_MARK));
    const deadline = Number(call.getDeadline());
    if (Number.isFinite(deadline)) this.deadline = moment(deadline);
  }

  /** Made when somebody asks: most calls make none that is tied to it. */
  get signal(): AbortSignal {
    if (this.controller !== undefined) return this.controller.signal;
    const { call } = this;
    const controller = new AbortController();
    this.controller = controller;
    // Each outgoing call listens once.
    setMaxListeners(0, controller.signal);
    const cancelled = (): void => {
      // grpc-js says 'cancelled' at the end of every call, one that was answered too.
      if (!this.answered && call.writableEnded !== true) controller.abort(new Error('The gRPC caller cancelled'));
    };
    if (this.stoppedBy !== undefined) controller.abort(this.stoppedBy);
    else if (call.cancelled) cancelled();
    else call.once('cancelled', cancelled);
    return controller.signal;
  }

  /** This side does not want its work any more. */
  stop(reason: Error): void {
    this.stoppedBy ??= reason;
    this.controller?.abort(reason);
  }

  /** The handler gave its answer: what comes from now on is no cancellation. */
  end(): void {
    this.answered = true;
  }

  get(key: string): string | undefined {
    const values = this.call.metadata.get(key);
    if (values.length === 0) return undefined;
    return values.map((value) => (typeof value === 'string' ? value : value.toString('base64'))).join(', ');
  }
}

/** grpc-js's call among the arguments of a handler: the third of Nest's, the first of a `@GrpcStreamCall`. */
export function serverCallOf(
  args: readonly unknown[],
): { readonly call: GrpcServerCall; readonly ownStream: boolean } | undefined {
  if (isServerCall(args[2])) return { call: args[2], ownStream: false };
  return isServerCall(args[0]) ? { call: args[0], ownStream: true } : undefined;
}

function isServerCall(value: unknown): value is GrpcServerCall {
  return (
    typeof value === 'object' &&
    value !== null &&
    'getDeadline' in value &&
    typeof value.getDeadline === 'function' &&
    'cancelled' in value &&
    'metadata' in value
  );
}
