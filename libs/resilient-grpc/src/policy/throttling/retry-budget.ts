import type { LostConnection } from '../evidence/verdict.js';

/** Limits the retries of one channel, so that they do not worsen an outage. Times are monotonic milliseconds. */
export interface RetryBudget {
  /** Records a successful call. */
  onSuccess(now: number): void;
  /** Records a failed attempt that counts: a retryable code, or a pushback that forbids retries. */
  onFailure(): void;
  /** Records that a call whose last attempt started at `startedAt` had no response by its deadline. */
  onDeadline(now: number, startedAt: number): void;
  /**
   * Requests one retry. Debits the cost of the retry, if any, and returns true if the retry is allowed; otherwise, returns false.
   *
   * @param lostWith `undefined` if the attempt was not lost with a connection
   */
  tryRetry(now: number, lostWith?: LostConnection): boolean;
  /** Returns the remaining tokens, excluding any that a stall withholds. */
  tokens(now: number): number;
  /** True if `tokens` suffice for a retry of an attempt that was not lost with a connection. */
  suffices(tokens: number): boolean;
}
