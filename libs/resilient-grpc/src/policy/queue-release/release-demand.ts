import type { UsualLatency } from './load-baseline.js';
import type { ReleasePolicy } from './release-policy.js';

/** A queued call that is waiting to be released. */
export interface HeldCall {
  /** Epoch milliseconds; Infinity if the call has no deadline. */
  readonly deadline: number;
  /** Time at which the call was queued, in monotonic milliseconds. */
  readonly waitingSince: number;
  /** Path of the method; `undefined` for `waitForReady()`, which calls no method. */
  readonly path: string | undefined;
}

/** Times of a release, in milliseconds. */
export interface ReleaseTimes {
  /** Current monotonic time. */
  readonly now: number;
  /** Current epoch time. */
  readonly epoch: number;
  /** Monotonic time at which the channel became READY. */
  readonly readyAt: number;
  /** Maximum delay of a call after READY, or after it was queued if that is later. */
  readonly boundMs: number;
  /** Latencies before the outage. */
  readonly usualLatency: UsualLatency;
  /** Expected delay of a response beyond its usual latency. A recovering server may be slower than before the outage. */
  readonly delayMs: number;
  /** True while the server responds more slowly than before the outage. */
  readonly isSlow: boolean;
}

/** Returns the monotonic time by which `call` must be sent. */
function boundAt(call: HeldCall, { readyAt, boundMs }: ReleaseTimes): number {
  return Math.max(readyAt, call.waitingSince) + boundMs;
}

/**
 * True if the response to `call` is expected after its deadline, and the server responds slowly. Such a call would only add load. If the
 * server responds normally, every call is sent, because the latency before the outage may no longer apply.
 */
export function isTooLate(call: HeldCall, times: ReleaseTimes): boolean {
  return times.isSlow && spareMs(call, times) <= 0;
}

/** Returns the milliseconds for which `call` can wait if its response is to arrive before its deadline; 0 or less if it cannot. */
function spareMs(call: HeldCall, { epoch, usualLatency, delayMs }: ReleaseTimes): number {
  return call.deadline - epoch - usualLatency(call.path) - delayMs;
}

/**
 * Returns the calls in send order: by deadline or by bound, whichever is earlier. In this order, most calls meet their deadlines, and no
 * call starves. Calls with equal times keep their order.
 */
export function inSendOrder<Call extends HeldCall>(calls: Iterable<Call>, times: ReleaseTimes): readonly Call[] {
  const due = Array.from(calls, (call) => {
    return { call, inMs: Math.min(spareMs(call, times), boundAt(call, times) - times.now) };
  });
  return due.sort((a, b) => a.inMs - b.inMs).map(({ call }) => call);
}

/** Paces that the held calls require, in calls per second. */
export interface ReleaseDemand {
  /** Pace that sends every call within the bound. */
  readonly floorPerSecond: number;
  /** Pace that sends every call early enough for a response before its deadline. */
  readonly deadlinePacePerSecond: number;
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
  let deadlinePacePerMs = 0;
  for (const call of calls) {
    if (isTooLate(call, times)) continue;
    count += 1;
    const leftMs = boundAt(call, times) - marginMs - times.now;
    // After a suspend or a blocked event loop, calls are spread over a third of the bound instead of being sent in one burst.
    floorPerMs = Math.max(floorPerMs, count / Math.max(leftMs, times.boundMs / 3));
    deadlinePacePerMs = Math.max(deadlinePacePerMs, count / Math.max(spareMs(call, times), stepMs));
  }
  return { floorPerSecond: floorPerMs * 1_000, deadlinePacePerSecond: deadlinePacePerMs * 1_000 };
}
