import { nextPace } from './next-pace.js';
import type { ReleaseDemand } from './release-demand.js';
import { DEFAULT_RELEASE_POLICY, type ReleasePolicy } from './release-policy.js';

/** Weight of one answer in the moving average of latencies. */
const LATENCY_WEIGHT = 0.1;

/** Input of a new release. */
export interface ReleasePaceInput {
  /** Monotonic milliseconds. */
  readonly now: number;
  /** Calls per second of this client before the outage; 0 if there were none. */
  readonly usualCallsPerSecond: number;
  /** Median latency before the outage; 0 if none is known, then the first answer sets it. */
  readonly usualLatencyMs: number;
  /** Demand of the held calls. */
  readonly demand: ReleaseDemand;
}

/** Kind of a released call: the answer of a unary call is due; a quiet stream may send nothing for hours. */
export type ReleasedKind = 'unary' | 'stream';

/**
 * The pace at which waiting calls are released to a server that came back: slow at first, faster while the server answers as
 * usual, slower while it does not, never below the demand's floor. A stream that did not fail is as good as an answer. One
 * object per release.
 */
export class ReleasePace {
  readonly #start: number;
  #perSecond: number;
  #floor: number;
  #wanted: number;
  #latencyMs: number;
  #slowAboveMs: number | undefined;
  /** Calls that may go now; a fraction is the way to the next one. */
  #credit = 1;
  #creditedAt: number;
  #stepEndsAt: number;
  #slowedAt = -Infinity;
  #good = 0;
  #slow = 0;
  #failed = 0;
  #excusedUntil = -Infinity;
  #outstanding = 0;
  /** The same at the end of the last step. */
  #outstandingBefore = 0;
  /** Streams let out in this step that have neither been answered nor failed. */
  #opened = 0;
  /** Those of the step before. By now a server that refuses them has done so. */
  #quiet = 0;

  constructor(
    input: ReleasePaceInput,
    private readonly policy: ReleasePolicy = DEFAULT_RELEASE_POLICY,
  ) {
    const { startShare, startAtLeast, startWithoutUsual } = policy;
    const usual = input.usualCallsPerSecond;
    this.#floor = input.demand.floorPerSecond;
    this.#wanted = input.demand.wantedPerSecond;
    this.#start = Math.max(usual === 0 ? startWithoutUsual : Math.max(usual * startShare, startAtLeast), this.#floor);
    this.#perSecond = this.#start;
    this.#latencyMs = input.usualLatencyMs;
    this.#slowAboveMs = input.usualLatencyMs > 0 ? slowAbove(input.usualLatencyMs) : undefined;
    this.#creditedAt = input.now;
    this.#stepEndsAt = input.now + this.policy.stepMs;
  }

  /** Current pace in calls per second. */
  get callsPerSecond(): number {
    return this.#perSecond;
  }

  /** Moving average of the latency of released calls: a recovering server may take longer than usual. */
  get latencyMs(): number {
    return this.#latencyMs;
  }

  /** Updates the demand. The floor never decreases within a release: calls that are sent later count on it. */
  require({ floorPerSecond, wantedPerSecond }: ReleaseDemand): void {
    this.#floor = Math.max(this.#floor, floorPerSecond);
    this.#wanted = wantedPerSecond;
    this.#perSecond = Math.max(this.#perSecond, this.#floor);
  }

  /** Number of `waiting` calls that may be released now; they count as released. */
  take(now: number, waiting = Infinity): number {
    this.#advance(now);
    const released = Math.max(Math.min(Math.floor(this.#credit), waiting), 0);
    this.#credit -= released;
    this.#outstanding += released;
    return released;
  }

  /** One of those that were released just now is a stream: no answer of it is outstanding. */
  opened(): void {
    this.#outstanding--;
    this.#opened++;
  }

  /** A released call got an answer. */
  answered(latencyMs: number, now: number, kind: ReleasedKind = 'unary'): void {
    this.#advance(now);
    this.#slowAboveMs ??= slowAbove(latencyMs);
    this.#heardOf(kind);
    if (now >= this.#excusedUntil) this.#latencyMs += (latencyMs - this.#latencyMs) * LATENCY_WEIGHT;
    if (latencyMs <= this.#slowAboveMs) this.#good++;
    else if (now >= this.#excusedUntil) this.#slow++;
  }

  /** A released call failed. */
  failed(now: number, kind: ReleasedKind = 'unary'): void {
    this.#advance(now);
    this.#heardOf(kind);
    this.#failed++;
  }

  /** This process itself was late: what is slow just now says nothing of the server. */
  excuse(now: number): void {
    this.#slow = 0;
    this.#excusedUntil = now + this.policy.stepMs;
  }

  /** Milliseconds until `take` gives at least one. */
  msUntilNext(now: number): number {
    this.#advance(now);
    return this.#credit >= 1 ? 0 : Math.ceil(((1 - this.#credit) / this.#perSecond) * 1_000);
  }

  #heardOf(kind: ReleasedKind): void {
    if (kind === 'unary') this.#outstanding--;
    else if (this.#opened > 0) this.#opened--;
    else if (this.#quiet > 0) this.#quiet--;
  }

  #advance(now: number): void {
    while (now >= this.#stepEndsAt) {
      this.#earn(this.#stepEndsAt);
      this.#step(this.#stepEndsAt);
      // A process that slept must not make up for it: neither growth nor credit is due for that time.
      this.#stepEndsAt = Math.max(this.#stepEndsAt, now - this.policy.stepMs) + this.policy.stepMs;
    }
    this.#earn(now);
  }

  #earn(until: number): void {
    const elapsedMs = until - this.#creditedAt;
    if (elapsedMs <= 0) return;
    this.#creditedAt = until;
    const mostAtOnce = Math.max((this.#perSecond * this.policy.stepMs) / 1_000, 1);
    this.#credit = Math.min(this.#credit + (this.#perSecond * elapsedMs) / 1_000, mostAtOnce);
  }

  #step(at: number): void {
    const step = {
      perSecond: this.#perSecond,
      startPerSecond: this.#start,
      floorPerSecond: this.#floor,
      wantedPerSecond: this.#wanted,
      good: this.#good,
      slow: this.#slow,
      failed: this.#failed,
      quiet: this.#quiet,
      outstanding: this.#outstanding,
      outstandingBefore: this.#outstandingBefore,
      sinceSlowedMs: at - this.#slowedAt,
    };
    const { perSecond, because } = nextPace(step, this.policy);
    this.#perSecond = perSecond;
    if (because === 'too-slow') this.#slowedAt = at;
    this.#outstandingBefore = this.#outstanding;
    this.#good = 0;
    this.#slow = 0;
    this.#failed = 0;
    this.#quiet = this.#opened;
    this.#opened = 0;
  }
}

function slowAbove(usualLatencyMs: number): number {
  return 2 * usualLatencyMs + 20;
}
