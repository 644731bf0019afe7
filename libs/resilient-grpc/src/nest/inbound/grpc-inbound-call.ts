import { setMaxListeners } from 'node:events';
import type { Metadata } from '@grpc/grpc-js';
import type { CapturedCall } from '../../call/inbound-call.js';
import { AbortError } from '../../errors/library-error.js';
import { RETRY_CHAIN_KEY, isRetry, PREVIOUS_ATTEMPTS } from '../../policy/retry/decide-retry.js';
import { moment, type Clock } from '../../time/clock.js';

export interface GrpcServerCall {
  readonly metadata: Metadata;
  readonly cancelled: boolean;
  /** True if this side ended the response. Present only for methods with a response stream. */
  readonly writableEnded?: boolean;
  getDeadline(): Date | number;
  once(event: 'cancelled', listener: () => void): unknown;
}

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
    /** Values that the capturing server has already determined. */
    known?: { readonly streaming: boolean; readonly startedAt: number },
  ) {
    this.startedAt = known?.startedAt ?? clock.now();
    this.streaming = known?.streaming ?? ('read' in call || 'write' in call);
    this.retry = isRetry(this.get(PREVIOUS_ATTEMPTS), this.get(RETRY_CHAIN_KEY));
    const deadline = Number(call.getDeadline());
    if (Number.isFinite(deadline)) this.deadline = moment(deadline);
  }

  /** Aborted when the call is cancelled, or by `stop`. Created on first access, because most inbound calls cause no outgoing calls. */
  get signal(): AbortSignal {
    if (this.controller !== undefined) return this.controller.signal;
    const { call } = this;
    const controller = new AbortController();
    this.controller = controller;
    // Disables Node's leak warning, because handlers may add any number of listeners.
    setMaxListeners(0, controller.signal);
    const cancelled = (): void => {
      // grpc-js emits 'cancelled' at the end of every call, including a call that was answered.
      if (!this.answered && call.writableEnded !== true)
        controller.abort(new AbortError('The inbound gRPC call was cancelled'));
    };
    if (this.stoppedBy !== undefined) controller.abort(this.stoppedBy);
    else if (call.cancelled) cancelled();
    else call.once('cancelled', cancelled);
    return controller.signal;
  }

  /** Aborts the signal. Called when this side no longer needs the result. */
  stop(reason: Error): void {
    this.stoppedBy ??= reason;
    this.controller?.abort(reason);
  }

  /** Marks the call as answered; a later 'cancelled' event is not a cancellation. */
  end(): void {
    this.answered = true;
  }

  get(key: string): string | undefined {
    const values = this.call.metadata.get(key);
    if (values.length === 0) return undefined;
    return values.map((value) => (typeof value === 'string' ? value : value.toString('base64'))).join(', ');
  }
}

/** Returns grpc-js's call from a handler's arguments: the third argument in Nest's handlers, the first in `@GrpcStreamCall` handlers. */
export function serverCallOf(
  args: readonly unknown[],
): { readonly call: GrpcServerCall; readonly isStreamHandler: boolean } | undefined {
  if (isServerCall(args[2])) return { call: args[2], isStreamHandler: false };
  return isServerCall(args[0]) ? { call: args[0], isStreamHandler: true } : undefined;
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
