import type { Metadata } from '@grpc/grpc-js';
import type { Observable } from 'rxjs';
import type { GrpcCallOptions } from '../../client/resilient-types.js';

/** The context of a call, passed to a handler with the request. */
export interface FakeCall {
  /** The metadata argument merged with the metadata of the call options. */
  readonly metadata: Metadata;
  /** The call options as passed by the caller. */
  readonly options: GrpcCallOptions;
  /** Deadline in milliseconds since 1970; `Infinity` if there is none. */
  readonly deadline: number;
  /** Aborted when the caller cancels, or when a timeout of the call expires. */
  readonly signal: AbortSignal;
}

/** The state of a call: 'open', 'answered' by the handler with a response or an error, or 'cancelled' by the caller or a timeout. */
export type FakeCallOutcome = 'open' | 'answered' | 'cancelled';

/** The record of a call to a fake service. */
export interface FakeCallRecord<Name = string, Request = unknown> {
  /** The name of the handler, or the name used by the caller if the method has no handler. */
  readonly method: Name;
  /** The request; for a request stream, the messages received so far, in order. */
  readonly request: Request;
  readonly metadata: Metadata;
  readonly options: GrpcCallOptions;
  readonly outcome: FakeCallOutcome;
}

/** The names of the gRPC methods of `S`. */
type MethodName<S> = {
  [K in keyof S]: S[K] extends (...args: never) => Observable<unknown> | Promise<unknown> ? K : never;
}[keyof S];

/** The records of calls to `S`. Checking `method` narrows the type of `request`. */
export type FakeCallRecords<S> = {
  [K in MethodName<S>]: S[K] extends (request: infer Q, ...rest: infer _) => Observable<unknown> | Promise<unknown>
    ? FakeCallRecord<K, Q extends Observable<infer M> ? readonly M[] : Q>
    : never;
}[MethodName<S>];

/** The return value of a handler: a message, a promise of one, or a stream of messages. An array is a stream of its elements. */
type FakeResponse<R> = R | Promise<R> | Observable<R> | AsyncIterable<R> | Iterable<R>;

/** The handlers of a fake service, by the method names of `S`. */
export type FakeHandlers<S> = {
  readonly [K in MethodName<S>]?: S[K] extends (
    request: infer Q,
    ...rest: infer _
  ) => Observable<infer R> | Promise<infer R>
    ? (request: Q extends Observable<infer M> ? AsyncIterable<M> : Q, call: FakeCall) => FakeResponse<R>
    : never;
};

/** A handler with erased types. */
export type AnyHandler = (request: unknown, call: FakeCall) => unknown;
