import type { Metadata } from '@grpc/grpc-js';
import type { CallEnd } from '../../call/call-event.js';
import type { CapturedCall, InboundCall } from '../../call/inbound-call.js';
import type { MethodKind } from '../../call/method.js';

/** An outgoing call, as interceptors receive it. */
export interface OutgoingCall {
  readonly client: string;
  /** Full name of the service: 'orders.v1.Orders'. */
  readonly service: string;
  /** Name of the method: 'Get'. */
  readonly method: string;
  /** Path of the method: '/orders.v1.Orders/Get'. */
  readonly path: string;
  readonly kind: MethodKind;
  /** Metadata to send. Entries that `onCall` adds are sent with every attempt; entries that `onAttempt` adds, only with that attempt. */
  readonly metadata: Metadata;
  /** Inbound call being served; present if inbound calls are captured and this call is bound to one. */
  readonly inbound?: InboundCall;
}

/** Returns the inbound call that `call` is bound to. */
export function inboundOf(call: OutgoingCall): CapturedCall | undefined {
  // Every inbound call that an outgoing call is bound to was captured.
  return call.inbound as CapturedCall | undefined;
}

/** One attempt of an outgoing call. */
export interface OutgoingAttempt extends OutgoingCall {
  /** Number of the attempt; 1 for the original one. */
  readonly number: number;
  readonly deadline?: Date;
}

/**
 * Intercepts calls and attempts. Messages are not intercepted, so flow control is unaffected; to intercept messages, use grpc-js's
 * interceptors in `channelOptions.interceptors`. If `onCall` or `onAttempt` throws or rejects, the attempt is not sent, and the call fails.
 * A hedged call continues if other attempts are in flight.
 */
export interface GrpcClientInterceptor {
  /** Called before the first attempt. The call waits for the returned promise. */
  onCall?(call: OutgoingCall): void | Promise<void>;
  /** Called before each attempt. The attempt waits for the returned promise. */
  onAttempt?(attempt: OutgoingAttempt): void | Promise<void>;
  /**
   * Called once at the end of each call that `onCall` received: on success, failure, or cancellation. If the caller unsubscribed or the
   * request source failed, `end.code` is CANCELLED. An error that it throws does not change the call. It is rethrown as an uncaught exception, like an
   * error of an RxJS subscriber, and ends the process if no 'uncaughtException' handler is set. A rejected promise has the same effect.
   */
  onEnd?(call: OutgoingCall, end: CallEnd): void;
}

/** An interceptor class, which a module of the application must provide as a singleton. */
export type GrpcClientInterceptorClass = abstract new (...args: never[]) => GrpcClientInterceptor;
