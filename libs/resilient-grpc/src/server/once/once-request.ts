import type { WireCall } from '../calls/wire-call.js';

/** What a request on the path for keys says. */
export interface OnceRequest {
  readonly key: string;
  /** The store that its client expects; `undefined` for any. */
  readonly scope: string | undefined;
  /** Time on the clock of the store after which it must not begin, in milliseconds; `Infinity` without a limit. */
  readonly before: number;
  readonly asks: 'outcome' | 'close' | undefined;
  /** The message as it arrived; `undefined` if an interceptor of grpc-js has replaced it. */
  readonly bytes: Uint8Array | undefined;
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

/** Bytes of the messages that have arrived on a path for keys, until their calls are served. */
export class RequestBytes {
  private latest: object | undefined;
  private latestBytes: Uint8Array | undefined;
  /** Of messages whose calls were not served at once. */
  private readonly others = new WeakMap<object, Uint8Array>();

  add(message: object, bytes: Uint8Array): void {
    if (this.latest !== undefined && this.latestBytes !== undefined) this.others.set(this.latest, this.latestBytes);
    this.latest = message;
    this.latestBytes = bytes;
  }

  take(message: unknown): Uint8Array | undefined {
    // Safe cast: the requests of a method are messages.
    if (message !== this.latest) return this.others.get(message as object);
    const { latestBytes } = this;
    this.latest = this.latestBytes = undefined;
    return latestBytes;
  }
}
