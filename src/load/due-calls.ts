/** Calls a second that one contender gets. */
export interface CallRate {
  readonly reads: number;
  readonly writes: number;
}

/**
 * How many calls should have begun by `elapsedMs`, at `perSecond`. An open loop: it asks nothing of the calls before, so a
 * slow answer never lowers the load, as users do not stop coming because others wait.
 */
export function callsDue(perSecond: number, elapsedMs: number): number {
  return Math.floor((perSecond * elapsedMs) / 1_000);
}
