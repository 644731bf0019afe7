/**
 * Last part of the path of requests with a key: '/orders.v1.Orders/Create.once'. Only a server with this feature has such a path, because the
 * name of an rpc has no dot, so that a proxy may send the request anywhere, and a server that would run it again refuses it.
 */
export const ONCE_SUFFIX = '.once';

/** Metadata keys of requests. */
export const ONCE_KEY = 'idempotency-key';
/** The store that the client expects, or `ASKS_SCOPE`. A client of another kind sends none, and takes any. */
export const ONCE_SCOPE = 'once-scope';
/** Time on the clock of the store after which the request must not begin, in milliseconds since 1970. */
export const ONCE_BEFORE = 'once-before';
/** 'outcome' or 'close': the request asks what became of the key, and never runs a handler. */
export const ONCE_ASK = 'once-ask';

/** Value of `once-scope` in a request that runs no handler: the server answers with its scope. */
export const ASKS_SCOPE = '?';

/** Metadata keys of trailers. */
export const ONCE_MARK = 'once';
/** Time of the store, and the time for which it keeps ends, in milliseconds. With `once-scope`, in a refusal because of the scope. */
export const ONCE_NOW = 'once-now';
export const ONCE_TTL = 'once-ttl';

/** What a server says of a request with a key, in the trailers. A status without a mark is that of something else, such as a proxy. */
export type OnceMark =
  /** The end of the handler, which this request started ('kept'), or another one ('replayed'). Final. */
  | 'kept'
  | 'replayed'
  /** The handler has done nothing, and the key is free. */
  | 'released'
  /** The store could not be asked, and no handler was called. */
  | 'not-run'
  /** The status of a guard, which belongs to this request alone; no handler was called. */
  | 'guarded'
  /** The handler runs in another process. */
  | 'running'
  | 'in-doubt'
  | 'mismatch'
  | 'late'
  | 'elsewhere'
  | 'unknown'
  | 'closed';

/** Keys are printable characters without spaces, which proxies trim. */
const KEY = /^[!-~]{1,255}$/;

export function isOnceKey(value: unknown): value is string {
  return typeof value === 'string' && KEY.test(value);
}
