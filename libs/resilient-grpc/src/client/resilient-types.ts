import type { CallOptions, Metadata } from '@grpc/grpc-js';
import type { Observable } from 'rxjs';
import type { CallEnd } from '../call/call-event.js';
import type { GrpcObservable } from '../call/grpc-observable.js';

/**
 * `Resilient<OrdersClient>`: the interface that ts-proto (or you) wrote, with this library's arguments and results.
 * Assignable to `OrdersClient`.
 */
export type Resilient<Service> = {
  [K in keyof Service]: Service[K] extends (request: infer Q, ...rest: infer _) => Observable<infer R>
    ? ResilientMethod<RequestOf<Q>, R>
    : Service[K];
};

/** A method: `get(request, options)`, or Nest's `get(request, metadata, options)`. */
export type ResilientMethod<Request, Response> = (
  request: Request,
  metadataOrOptions?: Metadata | GrpcCallOptions | null,
  options?: GrpcCallOptions,
) => GrpcObservable<Response>;

/** Request messages of a streaming method may come from an Observable, an async iterable or an iterable. */
export type RequestOf<Q> = Q extends Observable<infer M> ? RequestStream<M> : Q;
/** Source of request messages. Iterables are pulled with flow control; an Observable pushes at its own speed. */
export type RequestStream<M> = Observable<M> | AsyncIterable<M> | Iterable<M>;

/** Metadata as an object; several values of one key as an array. */
export type MetadataInput =
  Metadata | Readonly<Record<string, string | Buffer | readonly (string | Buffer)[] | undefined>>;

/** Options of one call. grpc-js's own (`deadline`, `parent`, `credentials`, `interceptors`, `host`) keep their meaning. */
export interface GrpcCallOptions extends CallOptions {
  /**
   * Length of the whole call in milliseconds, more than 0, counted from the subscription; reaches the server. The lesser of
   * this, `deadline`, and the method's own holds.
   */
  readonly timeoutMs?: number | undefined;
  /**
   * Length of each attempt in milliseconds, more than 0, in place of the method's; never runs while the call waits for the
   * channel.
   */
  readonly attemptTimeoutMs?: number | undefined;
  /** Longest silence of a response stream in milliseconds, more than 0, in place of the method's. */
  readonly streamIdleTimeoutMs?: number | undefined;
  /** Messages read ahead of a slow `for await`, 1 or more, in place of the method's. */
  readonly prefetch?: number | undefined;
  /** What becomes of this call at shutdown, in place of what the method says. */
  readonly onDrain?: 'finish' | 'complete' | 'fail' | undefined;
  /** Safe to repeat, for this call. */
  readonly idempotent?: boolean | undefined;
  /** undefined: wait inside the outage grace; false: fail at once; true: wait until the deadline. */
  readonly waitForReady?: boolean | undefined;
  /** Sent with this call; wins key by key over the client's. */
  readonly metadata?: MetadataInput | undefined;
  /** Aborting cancels the call; its reason becomes the error's `cause`. */
  readonly signal?: AbortSignal | undefined;
  /** false: one attempt (transparent retries stay). */
  readonly retry?: false | undefined;
  /** false: not bound to the inbound call that is being served, for work that outlives it. */
  readonly propagate?: false | undefined;
  /** Response headers of the attempt that was not retried. */
  readonly onHeaders?: ((headers: Metadata) => void) | undefined;
  /** After the last attempt, success or failure; not after the subscriber has left. */
  readonly onEnd?: ((end: CallEnd) => void) | undefined;
}
