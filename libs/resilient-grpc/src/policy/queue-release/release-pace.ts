import { isSlow, nextPace } from './next-pace.js';
import type { ReleaseDemand } from './release-demand.js';
import { DEFAULT_RELEASE_POLICY, type ReleasePolicy } from './release-policy.js';

/** Weight of one response in the moving average of the delays beyond usual latencies. */
const LATENCY_WEIGHT = 0.1;

/** Input of a new release. */
export interface ReleasePaceInput {
  /** Monotonic milliseconds. */
  readonly now: number;
  /** Calls per second of this client before the outage; 0 if it made no calls. */
  readonly usualCallsPerSecond: number;
  /** Demand of the held calls. */
  readonly demand: ReleaseDemand;
}

/**
 * Kind of a released call. 'unary': a unary or client-streaming call, which is expected to be answered promptly. 'stream': a call with a
 * response stream, which may be silent for hours.
 */
export type ReleasedKind = 'unary' | 'stream';

/**
 * Controls the pace at which waiting calls are released to a recovered server. The pace starts low, rises while the server responds at
 * normal latency, and falls after slow responses and failures, but never below the floor of the demand. A stream that has not failed counts
 * as a response. Create one object per release.
 */
export class ReleasePace {
  private readonly startPerSecond: number;
  /** Current pace. */
  callsPerSecond: number;
  private floorPerSecond: number;
  private deadlinePacePerSecond: number;
  /** Moving average of the delays of unary responses beyond their usual latencies, in milliseconds; negative if they are faster. */
  private meanDelayMs = 0;
  /** True if too many responses were slow in the last step that received any. */
  isSlow = false;
  /**
   * Latency of the first response whose method has no usual latency. Later responses of such methods are slow if they exceed twice this
   * latency by more than 20 ms.
   */
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
    this.callsPerSecond = this.startPerSecond;
    this.creditedAt = input.now;
    this.stepEndsAt = input.now + policy.stepMs;
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

  /** Records that a released call failed. */
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

  /** Returns the milliseconds until `take` returns at least 1. */
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
    const step = {
      perSecond: this.callsPerSecond,
      startPerSecond: this.startPerSecond,
      floorPerSecond: this.floorPerSecond,
      deadlinePacePerSecond: this.deadlinePacePerSecond,
      good: this.good,
      slow: this.slow,
      failed: this.failedCount,
      quiet: this.quiet,
      outstanding: this.outstanding,
      outstandingBefore: this.outstandingBefore,
      sinceSlowedMs: at - this.slowedAt,
      isStreamLimited: this.isStreamLimited,
    };
    const { perSecond, because } = nextPace(step, this.policy);
    this.callsPerSecond = perSecond;
    if (because === 'too-slow') this.slowedAt = at;
    this.outstandingBefore = this.outstanding;
    if (this.good + this.slow > 0) this.isSlow = isSlow(this.good, this.slow, this.policy.badShare);
    this.good = 0;
    this.slow = 0;
    this.failedCount = 0;
    this.quiet = this.openedCount;
    this.openedCount = 0;
  }
}

function slowAbove(usualLatencyMs: number): number {
  return 2 * usualLatencyMs + 20;
}
