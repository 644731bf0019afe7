import type { Metadata } from '@grpc/grpc-js';
import { StatusCode } from '../../status/status-code.js';
import type { StatusLike } from './served-method.js';

/** What is used of grpc-js's call, of any kind of method. */
export interface WireCall {
  readonly metadata: Metadata;
  /** Of methods that take one message. */
  readonly request?: unknown;
  readonly cancelled: boolean;
  readonly writableEnded: boolean;
  /** Messages that wait for the client. */
  readonly writableLength: number;
  /** So many may. */
  readonly writableHighWaterMark: number;
  getDeadline(): Date | number;
  getPeer(): string;
  on(event: string, listener: (...args: never[]) => void): unknown;
  once(event: string, listener: (...args: never[]) => void): unknown;
  emit(event: 'error', status: StatusLike): unknown;
  write(message: unknown, taken?: (error?: Error | null) => void): boolean;
  end(): unknown;
}

/** A call whose requests can be read. */
export interface ReadableCall extends WireCall {
  iterator(options: { readonly destroyOnReturn: boolean }): AsyncIterableIterator<unknown>;
}

/** Ends a response stream: OK where there is no `status`. What was written before arrives before it. */
export function endStream(call: WireCall, status?: StatusLike): void {
  if (call.writableEnded) return;
  // The way grpc-js documents: it becomes the status of the call.
  if (status === undefined || status.code === StatusCode.OK) call.end();
  else call.emit('error', status);
}
