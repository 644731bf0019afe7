import type { Metadata } from '@grpc/grpc-js';
import type { MethodKind } from '../../call/method.js';
import type { ResolvedServerMethod } from '../server-options.js';

/** A method as the server serves it. */
export interface ServedMethod {
  /** '/orders.v1.Orders/Get' */
  readonly path: string;
  readonly kind: MethodKind;
  readonly options: ResolvedServerMethod;
  /** Nest's handler, with its guards, pipes, interceptors and filters. */
  readonly handler: ServedHandler;
  /** Bytes of a response message. */
  serialize(message: unknown): Uint8Array;
}

/** Nest's handler of a method: (request or requests, metadata, call), or (call, callback) of a `@GrpcStreamCall`. */
export type ServedHandler = (...args: unknown[]) => unknown;

/** What answers a call that answers once. */
export type AnswerCallback = (error: StatusLike | null | undefined, value?: unknown, ...trailers: unknown[]) => void;

/** A status as grpc-js takes it in place of an error. */
export interface StatusLike {
  readonly code: number;
  readonly details: string;
  readonly metadata?: Metadata | undefined;
}
