import type { Metadata } from '@grpc/grpc-js';
import type { Observable } from 'rxjs';
import type { GrpcCallOptions } from '../../client/resilient-types.js';

/** A call as a handler sees it, beside its request. */
export interface FakeCall {
  /** Of the argument and of the options together. */
  readonly metadata: Metadata;
  /** As the caller gave them. */
  readonly options: GrpcCallOptions;
  /** Milliseconds since 1970, or Infinity. */
  readonly deadline: number;
  /** Aborted when the caller leaves or its deadline passes. */
  readonly signal: AbortSignal;
}

/** What became of a call: 'answered', also with an error, or 'cancelled' by the caller or its deadline. */
export type FakeCallOutcome = 'open' | 'answered' | 'cancelled';

/** What is kept of a call. */
export interface FakeCallRecord<Name = string, Request = unknown> {
  /** The handler's name; of a method without one, the name it was called by. */
  readonly method: Name;
  /** The request; of a request stream the messages so far, in the order in which they came. */
  readonly request: Request;
  readonly metadata: Metadata;
  readonly options: GrpcCallOptions;
  readonly outcome: FakeCallOutcome;
}

/** Names of what can be called of `S`. */
export type MethodName<S> = {
  [K in keyof S]: S[K] extends (...args: never) => Observable<unknown> ? K : never;
}[keyof S];

/** Records of the calls of `S`; looking at `method` tells which request it has. */
export type FakeCallRecords<S> = {
  [K in MethodName<S>]: S[K] extends (request: infer Q, ...rest: infer _) => Observable<unknown>
    ? FakeCallRecord<K, Q extends Observable<infer M> ? readonly M[] : Q>
    : never;
}[MethodName<S>];

/** What a handler may give: one message, now or later, or as many as come. An array is a stream of its elements. */
export type FakeAnswer<R> = R | Promise<R> | Observable<R> | AsyncIterable<R> | Iterable<R>;

/** Handlers of `S`, by its own names. */
export type FakeHandlers<S> = {
  readonly [K in MethodName<S>]?: S[K] extends (request: infer Q, ...rest: infer _) => Observable<infer R>
    ? (request: Q extends Observable<infer M> ? AsyncIterable<M> : Q, call: FakeCall) => FakeAnswer<R>
    : never;
};

/** A handler whose types are forgotten. */
export type AnyHandler = (request: unknown, call: FakeCall) => unknown;
