import type { Metadata } from '@grpc/grpc-js';
import type { CallEnd } from '../../call/call-event.js';
import type { CapturedCall, InboundCall } from '../../call/inbound-call.js';
import type { MethodKind } from '../../call/method.js';

/** A call that leaves this process, as interceptors see it. */
export interface OutgoingCall {
  readonly client: string;
  /** 'orders.v1.Orders' */
  readonly service: string;
  /** 'Get' */
  readonly method: string;
  /** '/orders.v1.Orders/Get' */
  readonly path: string;
  readonly kind: MethodKind;
  /** What is written into it is sent: by `onCall` with every attempt, by `onAttempt` with that one. */
  readonly metadata: Metadata;
  /** The call that is being served, where inbound calls are captured and this one is bound to it. */
  readonly inbound?: InboundCall;
}

/** The inbound call that `call` is bound to. */
export function inboundOf(call: OutgoingCall): CapturedCall | undefined {
  // True: every inbound call that an outgoing one is bound to was captured.
  return call.inbound as CapturedCall | undefined;
}

/** One attempt of it. */
export interface OutgoingAttempt extends OutgoingCall {
  /** 1 for the original attempt. */
  readonly number: number;
  readonly deadline?: Date;
}

/**
 * Sees calls and attempts, not messages, so that flow control is untouched (for messages there are grpc-js's own, as
 * `channelOptions.interceptors`). What it throws, or rejects with, fails the call before it is sent.
 */
export interface GrpcClientInterceptor {
  /** Before the first attempt; the call waits for it. */
  onCall?(call: OutgoingCall): void | Promise<void>;
  /** Before each attempt; it waits for it. */
  onAttempt?(attempt: OutgoingAttempt): void | Promise<void>;
  /** After the last attempt, success or failure; not after the subscriber has left. */
  onEnd?(call: OutgoingCall, end: CallEnd): void;
}

/** A class of interceptors, which the application's container has one instance of. */
export type GrpcClientInterceptorClass = abstract new (...args: never[]) => GrpcClientInterceptor;
