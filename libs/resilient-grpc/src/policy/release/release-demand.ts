import { boundAt, spareMs, type HeldCall, type ReleaseTimes } from './held-call.js';
import type { ReleasePolicy } from './release-policy.js';

/** Paces that held calls need, in calls per second. */
export interface ReleaseDemand {
  /** Sends every call within the bound. */
  readonly floorPerSecond: number;
  /** Sends every call early enough for an answer before its deadline. */
  readonly wantedPerSecond: number;
}

/** Returns the paces that `calls` need, which are in the order in which they are sent. */
export function releaseDemand(
  calls: Iterable<HeldCall>,
  times: ReleaseTimes,
  { boundMargin, stepMs }: ReleasePolicy,
): ReleaseDemand {
  const marginMs = times.boundMs * boundMargin;
  let count = 0;
  let floorPerMs = 0;
  let wantedPerMs = 0;
  for (const call of calls) {
    const spare = spareMs(call, times);
    // It is too late for an answer: the call is not sent.
    if (spare <= 0) continue;
    count += 1;
    const leftMs = boundAt(call, times) - marginMs - times.now;
    // A process that stood still catches up over a third of the bound, about at its usual rate, and not in one burst.
    floorPerMs = Math.max(floorPerMs, count / Math.max(leftMs, times.boundMs / 3));
    wantedPerMs = Math.max(wantedPerMs, count / Math.max(spare, stepMs));
  }
  return { floorPerSecond: floorPerMs * 1_000, wantedPerSecond: wantedPerMs * 1_000 };
}
