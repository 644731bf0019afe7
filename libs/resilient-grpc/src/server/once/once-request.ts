import type { WireCall } from '../calls/wire-call.js';

/** What a request on the path for keys says. */
export interface OnceRequest {
  readonly key: string;
  /** The store that its client expects; `undefined` for any. */
  readonly scope: string | undefined;
  /** Time on the clock of the store after which it must not begin, in milliseconds; `Infinity` without a limit. */
  readonly before: number;
  readonly asks: 'outcome' | 'close' | undefined;
}

const REQUEST = Symbol('request with a key');
type WithRequest = WireCall & { [REQUEST]?: OnceRequest };

export function setOnceRequest(wire: WireCall, request: OnceRequest): void {
  (wire as WithRequest)[REQUEST] = request;
}

/** Returns what a call on a path for keys says; `undefined` for other calls. */
export function onceRequestOf(wire: WireCall): OnceRequest | undefined {
  return (wire as WithRequest)[REQUEST];
}

/** Bytes of the messages that arrived on a path for keys. */
export const requestBytes = new WeakMap<object, Uint8Array>();
