import type { OnceEvent, OnceLimits, OnceReply } from '../../policy/once/next-once.js';

export type Awaitable<T> = T | Promise<T>;

/** Identity and time of a store. */
export interface OnceIdentity {
  /**
   * Identifies the store and its records, in at most 100 characters of `!` to `~`. It must change when the store may have lost records: after a
   * restart without them, or a failover to a replica that lags.
   */
  readonly scope: string;
  /** Time of the store, in milliseconds since 1970. */
  readonly now: number;
}

/**
 * Keeps what became of keys. Servers that share a store run each key once. A store of your own needs an atomic step: it reads the record of an
 * id, calls `nextOnce()` with its own time and scope, and writes the record only if it is still the one that it read.
 */
export interface OnceStore {
  /**
   * True if `commit` writes the end of a handler in the handler's own transaction. The record then decides alone: an error of the handler is
   * not kept, and a process that has lost its lease cannot commit, so that another one begins instead of leaving the key in doubt.
   */
  readonly commits?: boolean;
  /** Called when the server starts, and when a request names another scope. A start with a store that throws fails. */
  identify(): Awaitable<OnceIdentity>;
  /**
   * Applies `event` to the record of `id`, 128 bits in base64url. A promise that rejects means that nothing is known to have changed: a request
   * that would begin is then refused before it runs.
   */
  apply(id: string, event: OnceEvent, limits: OnceLimits): Awaitable<OnceReply>;
  /**
   * Writes the end of the key that `owner` has begun, by `client`, in whose transaction the handler writes. Must fail, and with it the
   * transaction, if another process owns the key by now.
   */
  commit?(client: unknown, id: string, owner: string, end: Uint8Array, limits: OnceLimits): Promise<void>;
}
