import type { LostConnection } from '../evidence/lost-connection.js';

/** What bounds the retries of one channel, so that they never make an outage worse. Times are monotonic milliseconds. */
export interface RetryBudget {
  /** A call succeeded. */
  onSuccess(now: number): void;
  /** An attempt failed in a way that counts: a listed code, or a server that said not to try again. */
  onFailure(): void;
  /** The deadline of a call passed, and the server had not answered the attempt that was begun at `startedAt`. */
  onDeadline(now: number, startedAt: number): void;
  /**
   * Asks for one retry, and takes what it costs.
   *
   * @param lostWith `undefined` if the attempt was not lost with a connection
   */
  tryRetry(now: number, lostWith?: LostConnection): boolean;
  /** What is left, for the dashboard and the metrics. */
  tokens(now: number): number;
}
