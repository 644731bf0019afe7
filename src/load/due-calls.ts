/** Calls per second of each contender. */
export interface CallRate {
  readonly reads: number;
  readonly writes: number;
}

/**
 * Returns the number of calls that are due within `elapsedMs` milliseconds at a rate of `perSecond`. The load is an open loop: like the
 * arrival of users, it does not depend on earlier calls, so slow responses do not lower it.
 */
export function callsDue(perSecond: number, elapsedMs: number): number {
  return Math.floor((perSecond * elapsedMs) / 1_000);
}
