/** Ratio of adjacent bin bounds, which limits the error of a percentile to 1%. */
const STEP = 1.01;
const MIN_MS = 0.01;
const LOG_STEP = Math.log(STEP);

/** Percentiles of one contender's calls, in milliseconds. */
export interface LatencyPercentiles {
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
}

/** A histogram of durations with bins of 1%. Its memory is bounded, because the live comparison on the gateway's page may run for hours. */
export class LatencyHistogram {
  // The bin with index i has the upper bound MIN_MS * STEP ** i.
  private readonly counts: number[] = [];
  private total = 0;

  add(milliseconds: number): void {
    const bin = Math.max(0, Math.ceil(Math.log(milliseconds / MIN_MS) / LOG_STEP));
    while (this.counts.length <= bin) this.counts.push(0);
    this.counts[bin] = (this.counts[bin] ?? 0) + 1;
    this.total += 1;
  }

  /** Returns the percentiles; 0 if no call was counted. */
  percentiles(): LatencyPercentiles {
    return { p50: this.at(0.5), p90: this.at(0.9), p99: this.at(0.99) };
  }

  /** Returns the smallest time that `share` of the calls did not exceed. */
  private at(share: number): number {
    if (this.total === 0) return 0;
    let left = Math.ceil(share * this.total);
    const bin = this.counts.findIndex((count) => (left -= count) <= 0);
    return MIN_MS * STEP ** bin;
  }
}
