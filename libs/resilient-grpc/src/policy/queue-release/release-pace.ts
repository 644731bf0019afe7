import type { UsualLatency } from './load-baseline.js';

/** Default constants, tuned by simulation; see docs/internals/fleet. */
export const DEFAULT_RELEASE_POLICY = {
  /** Starting pace of a release, as a share of the client's normal calls per second. */
  startShare: 0.25,
  /** Minimum starting pace, in calls per second. */
  minStartPerSecond: 2,
  /** Starting pace of a client without history, in calls per second. */
  defaultStartPerSecond: 10,
  /** Bound for sending every held call after READY, as a multiple of the outage grace period, or of the longest wait if that is longer. */
  boundGraces: 3,
  /** Minimum bound in milliseconds, for clients with a short outage grace period or none. */
  minBoundMs: 3_000,
  /** Maximum bound that results from the grace period, in milliseconds. */
  maxBoundMs: 15_000,
  /** Share of the bound reserved for delays of this process. */
  boundMargin: 0.05,
  /** Factor by which the pace grows after a step with normal responses. */
  growth: 1.25,
  /** Maximum growth factor while the pace is too slow for the deadlines of held calls. */
  urgentGrowth: 1.35,
  /** Factor that multiplies the pace after a bad step; see `badShare`. */
  slowing: 0.6,
  /** Minimum interval between two reductions of the pace, in milliseconds. */
  minSlowdownIntervalMs: 300,
  /** Share of the previous step's outstanding calls; while fewer are outstanding, slow responses do not reduce the pace. */
  catchingUpShare: 0.9,
  /** Minimum number of outstanding calls for `catchingUpShare`; with fewer calls, the share varies at random. */
  catchingUpFrom: 10,
  /** Lowest pace after failures, as a share of the starting pace. Slow responses do not reduce the pace below the starting pace. */
  slowestShare: 0.25,
  /** Duration of a step, in milliseconds. The pace may change at the end of each step. */
  stepMs: 100,
  /** Share of slow or failed calls above which a step is bad. Even healthy servers have a tail of slow responses. */
  badShare: 0.25,
};

/** Constants that determine the pace at which waiting calls are sent to a recovered server. */
export type ReleasePolicy = Readonly<Record<keyof typeof DEFAULT_RELEASE_POLICY, number>>;

/** Weight of one response in the moving average of the delays beyond usual latencies. */
const LATENCY_WEIGHT = 0.1;

export interface ReleasePaceInput {
  /** Monotonic milliseconds. */
  readonly now: number;
  /** Calls per second of this client before the outage; 0 if it made no calls. */
  readonly usualCallsPerSecond: number;
  readonly demand: ReleaseDemand;
  /** `provenPerSecond` of a release that ended a moment ago. @defaultValue 0 */
  readonly provenPerSecond?: number;
}

/**
 * Kind of a released call. 'unary': a unary or client-streaming call, which is expected to be answered promptly. 'stream': a call with a
 * response stream, which may be silent for hours.
 */
export type ReleasedKind = 'unary' | 'stream';

/**
 * Controls the pace at which waiting calls are released to a recovered server. The pace starts low, rises while the server responds at
 * normal latency, and falls after slow responses and failures, but never below the floor of the demand. A stream that has not failed counts
 * as a response.
 */
export class ReleasePace {
  private readonly startPerSecond: number;
  callsPerSecond: number;
  private floorPerSecond: number;
  private deadlinePacePerSecond: number;
  /** Moving average of the delays of unary responses beyond their usual latencies, in milliseconds; negative if they are faster. */
  private meanDelayMs = 0;
  /** True if too many responses were slow in the last step that received any. */
  isSlow = false;
  /** Latency of the first response whose method has no usual latency. */
  private firstLatencyMs: number | undefined;
  /** Calls that may be sent now; the fractional part accumulates toward the next one. */
  private credit = 1;
  private creditedAt: number;
  private stepEndsAt: number;
  private slowedAt = -Infinity;
  private good = 0;
  private slow = 0;
  private failedCount = 0;
  private excusedUntil = -Infinity;
  /** True while the server's stream limit stops the release. The pace then does not grow, because a higher pace would have no effect. */
  isStreamLimited = false;
  private outstanding = 0;
  /** `outstanding` at the end of the last step. */
  private outstandingBefore = 0;
  /** Streams released in this step that have neither received response headers nor ended. */
  private openedCount = 0;
  /** `openedCount` of the previous step. By now, a server that rejects streams would have rejected these. */
  private quiet = 0;

  constructor(
    input: ReleasePaceInput,
    private readonly policy: ReleasePolicy = DEFAULT_RELEASE_POLICY,
  ) {
    const { startShare, minStartPerSecond, defaultStartPerSecond } = policy;
    const usual = input.usualCallsPerSecond;
    this.floorPerSecond = input.demand.floorPerSecond;
    this.deadlinePacePerSecond = input.demand.deadlinePacePerSecond;
    this.startPerSecond = Math.max(
      usual === 0 ? defaultStartPerSecond : Math.max(usual * startShare, minStartPerSecond),
      this.floorPerSecond,
    );
    this.callsPerSecond = Math.max(this.startPerSecond, input.provenPerSecond ?? 0);
    this.creditedAt = input.now;
    this.stepEndsAt = input.now + policy.stepMs;
  }

  /** The pace, if the server has kept up with it; 0 if responses are slow or missing, so that the pace may be why the connection was lost. */
  get provenPerSecond(): number {
    const { badShare, stepMs } = this.policy;
    const perStep = (this.callsPerSecond * stepMs) / 1_000;
    return this.isSlow || this.outstanding > Math.max(perStep * badShare, 1) ? 0 : this.callsPerSecond;
  }

  /** Updates the demand. The floor never decreases within a release, because later calls need it to meet the delay bound. */
  require({ floorPerSecond, deadlinePacePerSecond }: ReleaseDemand): void {
    this.floorPerSecond = Math.max(this.floorPerSecond, floorPerSecond);
    this.deadlinePacePerSecond = deadlinePacePerSecond;
    this.callsPerSecond = Math.max(this.callsPerSecond, this.floorPerSecond);
  }

  /** Returns the number of `waiting` calls that may be released now, and counts them as released. */
  take(now: number, waiting = Infinity): number {
    this.advance(now);
    const released = Math.max(Math.min(Math.floor(this.credit), waiting), 0);
    this.credit -= released;
    this.outstanding += released;
    return released;
  }

  /** Reverses `take` for `count` calls that were not sent. */
  putBack(count: number): void {
    this.credit += count;
    this.outstanding -= count;
  }

  /** Records that one of the calls just released is a stream, from which no prompt response is expected. */
  opened(): void {
    this.outstanding--;
    this.openedCount++;
  }

  /** Expected delay of a response beyond its usual latency, in milliseconds. */
  get delayMs(): number {
    return Math.max(this.meanDelayMs, 0);
  }

  /** Records that a released call was answered. `usualMs` is the usual latency of its method in milliseconds; 0 if unknown. */
  answered(latencyMs: number, usualMs: number, now: number, kind: ReleasedKind = 'unary'): void {
    this.advance(now);
    this.settle(kind);
    if (now >= this.excusedUntil && kind === 'unary') {
      this.meanDelayMs += (latencyMs - usualMs - this.meanDelayMs) * LATENCY_WEIGHT;
    }
    if (latencyMs <= slowAbove(usualMs || (this.firstLatencyMs ??= latencyMs))) this.good++;
    else if (now >= this.excusedUntil) this.slow++;
  }

  failed(now: number, kind: ReleasedKind = 'unary'): void {
    this.advance(now);
    this.settle(kind);
    this.failedCount++;
  }

  /** Records that this side ended a released call before its deadline. Such an end provides no evidence about the server. */
  cancelled(now: number, kind: ReleasedKind = 'unary'): void {
    this.advance(now);
    this.settle(kind);
  }

  /** Ignores the slow responses of this step so far, and those of the next `stepMs`, because this process itself was delayed. */
  excuse(now: number): void {
    this.slow = 0;
    this.excusedUntil = now + this.policy.stepMs;
  }

  msUntilNext(now: number): number {
    this.advance(now);
    return this.credit >= 1 ? 0 : Math.ceil(((1 - this.credit) / this.callsPerSecond) * 1_000);
  }

  private settle(kind: ReleasedKind): void {
    if (kind === 'unary') this.outstanding--;
    else if (this.openedCount > 0) this.openedCount--;
    else if (this.quiet > 0) this.quiet--;
  }

  private advance(now: number): void {
    while (now >= this.stepEndsAt) {
      this.earn(this.stepEndsAt);
      this.step(this.stepEndsAt);
      // Time during which the process was suspended or blocked counts as at most two steps, and the credit is limited to one step.
      this.stepEndsAt = Math.max(this.stepEndsAt, now - this.policy.stepMs) + this.policy.stepMs;
    }
    this.earn(now);
  }

  private earn(until: number): void {
    const elapsedMs = until - this.creditedAt;
    if (elapsedMs <= 0) return;
    this.creditedAt = until;
    const maxCredit = Math.max((this.callsPerSecond * this.policy.stepMs) / 1_000, 1);
    this.credit = Math.min(this.credit + (this.callsPerSecond * elapsedMs) / 1_000, maxCredit);
  }

  private step(at: number): void {
    this.callsPerSecond = Math.max(this.nextPerSecond(at), this.floorPerSecond);
    this.outstandingBefore = this.outstanding;
    if (this.good + this.slow > 0) this.isSlow = this.hasSlowResponses;
    this.good = 0;
    this.slow = 0;
    this.failedCount = 0;
    this.quiet = this.openedCount;
    this.openedCount = 0;
  }

  /** Returns the pace of the next step before the floor is applied. */
  private nextPerSecond(at: number): number {
    const { callsPerSecond: current, startPerSecond, policy } = this;
    if (this.isBadStep) {
      if (at - this.slowedAt < policy.minSlowdownIntervalMs || this.isCatchingUp) return current;
      this.slowedAt = at;
      const slowest = this.failedCount > 0 ? startPerSecond * policy.slowestShare : startPerSecond;
      // `Math.min`, because failures may have reduced the pace below `slowest`, and a bad step must not raise the pace.
      return Math.min(current, Math.max(current * policy.slowing, slowest));
    }
    const isUnanswered = this.good === 0 && this.outstanding > 0;
    if (isUnanswered || this.isStreamLimited) return current;
    return Math.max(current * policy.growth, Math.min(this.deadlinePacePerSecond, current * policy.urgentGrowth));
  }

  /** True if more than `badShare` of the results are slow or failed, or if more than that share of the responses are slow. */
  private get isBadStep(): boolean {
    const bad = this.slow + this.failedCount;
    // Quiet streams count only in the first share, because they show that the server accepted them, but not how fast the server is.
    return bad > (this.good + this.quiet + bad) * this.policy.badShare || this.hasSlowResponses;
  }

  /** True if more than `badShare` of the responses are slow. */
  private get hasSlowResponses(): boolean {
    return this.slow > (this.good + this.slow) * this.policy.badShare;
  }

  /** True if no call failed and clearly fewer calls are outstanding than after the previous step. */
  private get isCatchingUp(): boolean {
    const { failedCount, outstanding, outstandingBefore, policy } = this;
    const { catchingUpShare, catchingUpFrom } = policy;
    return (
      failedCount === 0 && outstandingBefore >= catchingUpFrom && outstanding < outstandingBefore * catchingUpShare
    );
  }
}

function slowAbove(usualLatencyMs: number): number {
  return 2 * usualLatencyMs + 20;
}

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
  readonly now: number;
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

/** Returns the calls in send order: by deadline or by bound, whichever is earlier. Calls with equal times keep their order. */
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
