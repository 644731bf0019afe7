/** Overload state of a server. During an overload, the server refuses calls that it cannot start in time. */
export interface ServerOverload {
  /** Start of the current overload; `undefined` if the server is not overloaded. */
  readonly since: Date | undefined;
  /** Number of unary calls that are waiting for their handlers. */
  readonly queued: number;
  /** Number of calls refused because of an overload, since the server was created. */
  readonly shed: number;
  /** Limits that `maxConcurrentCalls` sets for the server and for its methods. */
  readonly limits: readonly ServerConcurrencyLimit[];
}

/** A limit of `maxConcurrentCalls`. */
export interface ServerConcurrencyLimit {
  /** Path of the method; `undefined` for the limit of the server. */
  readonly path: string | undefined;
  /** Maximum number of unary handlers that run at the same time. If the limit is adaptive, this is its current value. */
  readonly maxConcurrent: number;
  readonly running: number;
  readonly queued: number;
  /** Maximum number of waiting calls (`maxQueuedCalls`), counted separately for calls with a deadline and calls without one. */
  readonly maxQueued: number;
}

/** A server of this process that can be observed. */
export interface ObservableServer {
  /** Listen address, as configured. */
  readonly address: string;
  overload(): ServerOverload;
}
