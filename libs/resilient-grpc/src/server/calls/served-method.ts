import type { Metadata } from '@grpc/grpc-js';
import type { MethodKind } from '../../call/method.js';
import type { ResolvedServerMethod } from '../server-options.js';

/** Method that the server serves. */
export interface ServedMethod {
  /** Path of the method, such as '/orders.v1.Orders/Get'. */
  readonly path: string;
  readonly kind: MethodKind;
  readonly options: ResolvedServerMethod;
  /** Nest's handler, with its guards, pipes, interceptors and filters. */
  readonly handler: ServedHandler;
  /** Serializes a response message. */
  serialize(message: unknown): Uint8Array;
}

/** Nest's handler of a method: (request or requests, metadata, call), or (call, callback) for a `@GrpcStreamCall`. */
export type ServedHandler = (...args: unknown[]) => unknown;

/** Callback with the response of a unary or client-streaming call. */
export type AnswerCallback = (error: StatusLike | null | undefined, value?: unknown, ...trailers: unknown[]) => void;

/** Status that grpc-js accepts as an error. */
export interface StatusLike {
  readonly code: number;
  readonly details: string;
  readonly metadata?: Metadata | undefined;
}

/** True if `await` would wait for the value: a promise, or a promise-like object such as a query builder. */
export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function';
}
