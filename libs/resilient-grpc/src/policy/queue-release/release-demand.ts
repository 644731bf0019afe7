import { boundAt, spareMs, type HeldCall, type ReleaseTimes } from './held-call.js';
import type { ReleasePolicy } from './release-policy.js';

/** Paces that the held calls require, in calls per second. */
export interface ReleaseDemand {
  /** Pace that sends every call within the bound. */
  readonly floorPerSecond: number;
  /** Pace that sends every call early enough for a response before its deadline. */
  readonly wantedPerSecond: number;
}

/** Returns the paces that `calls` require; `calls` must be in send order. */
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
    // Too late for a response, so the call is not sent.
    if (spare <= 0) continue;
    count += 1;
    const leftMs = boundAt(call, times) - marginMs - times.now;
    // After a suspend or a blocked event loop, calls are spread over a third of the bound instead of sent in one burst.
    floorPerMs = Math.max(floorPerMs, count / Math.max(leftMs, times.boundMs / 3));
    wantedPerMs = Math.max(wantedPerMs, count / Math.max(spare, stepMs));
  }
  return { floorPerSecond: floorPerMs * 1_000, wantedPerSecond: wantedPerMs * 1_000 };
}
