import { RecentLatencies } from '../../time/recent-latencies.js';

/** Percentile of first-attempt latency, used as the delay before a hedge. */
export type HedgingPercentile = 'p90' | 'p95' | 'p99';

/** Percentiles that a hedging delay can follow. */
const HEDGING_PERCENTILES: Readonly<Record<HedgingPercentile, number>> = { p90: 90, p95: 95, p99: 99 };

/**
 * Time in milliseconds in which the weight of an attempt halves; after a minute, the weight is a sixteenth. Aging never reduces the total
 * weight below the number of attempts that a delay requires.
 */
const HALF_LIFE_MS = 15_000;
/** Number of attempts above the percentile that are required for a delay, so that the delay depends on more than one or two attempts. */
const MIN_SLOWER_ATTEMPTS = 5;
/** Minimum delay in milliseconds. Below it, delays of timers and of the event loop would cause hedges. */
const MIN_DELAY_MS = 5;
/** Number of attempts between two computations of the delay. */
const ATTEMPTS_PER_UPDATE = 16;

/**
 * Hedging delay that follows a percentile of the first-attempt latency of one method. The delay is Infinity, so that slow attempts
 * are not hedged, until enough attempts have been measured: 50 for p90, 100 for p95, 500 for p99.
 *
 * Only the latency of an attempt that received response headers or succeeded is known. The age of an attempt that ends otherwise (it fails,
 * is cancelled, or loses to a hedge) is recorded if it exceeds the delay, because the attempt was slow in any case. Without these attempts,
 * each hedge would remove a slow attempt from the measurement, and the delay would fall with every hedge. An attempt that ends earlier
 * without success is not recorded, because a failure within one millisecond does not show how fast responses are.
 */
export class MeasuredDelay {
  private readonly latencies: RecentLatencies;
  private readonly minAttempts: number;
  private delayMs = Infinity;
  private sinceUpdate = 0;

  constructor(readonly percentile: HedgingPercentile) {
    this.minAttempts = Math.round(MIN_SLOWER_ATTEMPTS / (1 - HEDGING_PERCENTILES[percentile] / 100));
    this.latencies = new RecentLatencies(HALF_LIFE_MS, this.minAttempts);
  }

  /** Current delay in milliseconds; Infinity until enough attempts have been measured. */
  get currentMs(): number {
    return this.delayMs;
  }

  /** Records a first attempt that received response headers or succeeded. @param now monotonic milliseconds */
  answered(latencyMs: number, now: number): void {
    this.record(latencyMs, now);
  }

  /** Records a first attempt that ended otherwise, if `ageMs` exceeds the delay. @param now monotonic milliseconds */
  unanswered(ageMs: number, now: number): void {
    if (ageMs > this.delayMs) this.record(ageMs, now);
  }

  private record(ms: number, now: number): void {
    this.latencies.record(ms, now);
    this.sinceUpdate += 1;
    const isFirst = this.delayMs === Infinity;
    if (isFirst ? this.latencies.weight < this.minAttempts : this.sinceUpdate < ATTEMPTS_PER_UPDATE) return;
    this.sinceUpdate = 0;
    this.delayMs = Math.max(this.latencies.percentile(HEDGING_PERCENTILES[this.percentile]), MIN_DELAY_MS);
  }
}
