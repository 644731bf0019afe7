import type { Metadata } from '@grpc/grpc-js';
import { StatusCode } from '../../status/status-code.js';

export type AnswerCallback = (error: StatusLike | null | undefined, value?: unknown, ...trailers: unknown[]) => void;

/** Status that grpc-js accepts as an error. */
export interface StatusLike {
  readonly code: number;
  readonly details: string;
  readonly message?: string;
  readonly metadata?: Metadata | undefined;
}

/** The part of grpc-js's server call that this library uses, for all kinds of methods. */
export interface WireCall {
  readonly metadata: Metadata;
  readonly request?: unknown;
  readonly cancelled: boolean;
  readonly writableEnded: boolean;
  /** Number of requests that were delivered and not read yet, if there can be several. */
  readonly readableLength?: number;
  /** Number of messages that are waiting for the client. */
  readonly writableLength: number;
  /** Maximum number of waiting messages before backpressure. */
  readonly writableHighWaterMark: number;
  getDeadline(): Date | number;
  getPeer(): string;
  on(event: string, listener: (...args: never[]) => void): unknown;
  once(event: string, listener: (...args: never[]) => void): unknown;
  emit(event: 'error', status: StatusLike): unknown;
  write(message: unknown, taken?: (error?: Error | null) => void): boolean;
  end(trailers?: Metadata): unknown;
}

/** Client-streaming or bidirectional call, whose requests can be read. */
export interface ReadableCall extends WireCall {
  iterator(options: { readonly destroyOnReturn: boolean }): AsyncIterableIterator<unknown>;
}

/** Ends a response stream after the messages already written: with `status` if it is an error, otherwise with OK and `trailers`. */
export function endStream(call: WireCall, status?: StatusLike, trailers?: Metadata): void {
  if (call.writableEnded) return;
  // As documented by grpc-js, an 'error' event sets the status of the call.
  if (status === undefined || status.code === StatusCode.OK) call.end(trailers);
  else call.emit('error', errorOf(status));
}

/** Returns `status` as an error of grpc-js, whose `message` monitoring agents record. */
export function errorOf(status: StatusLike): StatusLike {
  return { ...status, message: status.details };
}
