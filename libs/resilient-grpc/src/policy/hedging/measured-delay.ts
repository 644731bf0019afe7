/** Percentile of first-attempt latency, used as the delay before a hedge. */
export type HedgingPercentile = 'p90' | 'p95' | 'p99';

const HEDGING_PERCENTILES: Readonly<Record<HedgingPercentile, number>> = { p90: 90, p95: 95, p99: 99 };

/** Time in milliseconds in which the weight of an attempt halves; after a minute, the weight is a sixteenth. */
const HALF_LIFE_MS = 15_000;
/** Number of attempts above the percentile that are required for a delay, so that the delay depends on more than one or two attempts. */
const MIN_SLOWER_ATTEMPTS = 5;
/** Minimum delay in milliseconds. Below it, delays of timers and of the event loop would cause hedges. */
const MIN_DELAY_MS = 5;
/** Number of attempts between two computations of the delay. */
const ATTEMPTS_PER_UPDATE = 16;

/**
 * Hedging delay that follows a percentile of the first-attempt latency of one method. The delay is Infinity, so that slow attempts are not
 * hedged, until enough attempts have been measured: 50 for p90, 100 for p95, 500 for p99. Only the latency of an attempt that received
 * response headers or succeeded is known. The age of an attempt that ends otherwise (it fails, is cancelled, or loses to a hedge) is
 * recorded if it exceeds the delay, because the attempt was slow in any case. Without these attempts, each hedge would remove a slow
 * attempt from the measurement, and the delay would fall with every hedge.
 */
export class MeasuredDelay {
  private readonly latencies: RecentLatencies;
  private readonly minAttempts: number;
  /** Current delay in milliseconds; Infinity until enough attempts have been measured. */
  currentMs = Infinity;
  private sinceUpdate = 0;

  constructor(readonly percentile: HedgingPercentile) {
    this.minAttempts = Math.round(MIN_SLOWER_ATTEMPTS / (1 - HEDGING_PERCENTILES[percentile] / 100));
    this.latencies = new RecentLatencies(this.minAttempts);
  }

  /** Records a first attempt that ended otherwise, if `ageMs` exceeds the delay. @param now monotonic milliseconds */
  unanswered(ageMs: number, now: number): void {
    if (ageMs > this.currentMs) this.answered(ageMs, now);
  }

  /** Records a first attempt that received response headers or succeeded. @param now monotonic milliseconds */
  answered(ms: number, now: number): void {
    this.latencies.record(ms, now);
    this.sinceUpdate += 1;
    const isFirst = this.currentMs === Infinity;
    if (isFirst ? this.latencies.weight < this.minAttempts : this.sinceUpdate < ATTEMPTS_PER_UPDATE) return;
    this.sinceUpdate = 0;
    this.currentMs = Math.max(this.latencies.percentile(HEDGING_PERCENTILES[this.percentile]), MIN_DELAY_MS);
  }
}

/** Buckets per factor of two, so that a bucket spans 4.4%. */
const BUCKETS_PER_OCTAVE = 16;
/** Lower bound of the first bucket, in milliseconds. The bucket also counts lower values. */
const MIN_MS = 2 ** -4;
/** Number of octaves. The last octave ends at about 70 minutes, and higher values count as 70 minutes. */
const OCTAVES = 26;
const BUCKETS = OCTAVES * BUCKETS_PER_OCTAVE;
/** Upper bound of `unit`. When `unit` reaches it, all weights are divided by `unit`, long before they could overflow. */
const MAX_UNIT = 1e100;

/** Histogram of durations in which older values count less, so that a percentile describes recent values. */
export class RecentLatencies {
  private readonly buckets = new Float64Array(BUCKETS);
  private sum = 0;
  /** Weight of a value recorded now. It grows with time, so that the weights of older values do not have to be reduced. */
  private unit = 1;
  private recordedAt = -Infinity;

  constructor(
    /** Total weight at which values stop aging, so that older values still count if few newer ones arrive. */
    private readonly minWeight: number,
  ) {}

  /** Total weight of the values. A new value counts as 1, and older values count as less. */
  get weight(): number {
    return this.sum / this.unit;
  }

  /** @param now monotonic milliseconds */
  record(ms: number, now: number): void {
    this.age(now);
    const octave = Math.log2(ms / MIN_MS);
    const bucket = Math.min(Math.max(Math.ceil(octave * BUCKETS_PER_OCTAVE) - 1, 0), BUCKETS - 1);
    this.buckets[bucket] = (this.buckets[bucket] ?? 0) + this.unit;
    this.sum += this.unit;
  }

  /** Returns a percentile in milliseconds, rounded up by at most 4.4%; 0 if there are no values. */
  percentile(percent: number): number {
    // Starts at the highest bucket, because only a few values are greater than a high percentile.
    let greater = (1 - percent / 100) * this.sum;
    // The tolerance covers rounding errors, because divided buckets do not add up exactly to `sum`.
    for (let bucket = BUCKETS - 1; bucket >= 0; bucket--) {
      greater -= this.buckets[bucket] ?? 0;
      if (greater < -1e-9 * this.sum) return MIN_MS * 2 ** ((bucket + 1) / BUCKETS_PER_OCTAVE);
    }
    return 0;
  }

  private age(now: number): void {
    const elapsedMs = Math.max(now - this.recordedAt, 0);
    this.recordedAt = now;
    const { weight } = this;
    if (weight <= this.minWeight) return;
    const remaining = Math.max(2 ** (-elapsedMs / HALF_LIFE_MS), this.minWeight / weight);
    this.unit /= remaining;
    if (this.unit < MAX_UNIT) return;
    for (let bucket = 0; bucket < BUCKETS; bucket++) this.buckets[bucket] = (this.buckets[bucket] ?? 0) / this.unit;
    this.sum /= this.unit;
    this.unit = 1;
  }
}
