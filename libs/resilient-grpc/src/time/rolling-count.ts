const BUCKETS = 10;

/** Counts the events within a time in ten rolling buckets, without allocating per event. Times are milliseconds of any clock. */
export class RollingCount {
  private readonly bucketMs: number;
  private readonly buckets = new Float64Array(BUCKETS);
  /** Number of the bucket being filled, counted from time 0. */
  private bucket = -Infinity;
  /** Number of events within the time before the last `add()`. */
  count = 0;

  constructor(durationMs: number) {
    this.bucketMs = durationMs / BUCKETS;
  }

  /** Adds `events`, and drops those of the buckets that have ended. If the clock goes back, the latest bucket is used. */
  add(now: number, events = 1): void {
    const { buckets } = this;
    const bucket = Math.floor(now / this.bucketMs);
    if (bucket - this.bucket >= BUCKETS) this.clear();
    else
      for (let passed = this.bucket + 1; passed <= bucket; passed++) {
        // The index of a negative time, which a scheduler may report, would be negative without the sum.
        const index = ((passed % BUCKETS) + BUCKETS) % BUCKETS;
        this.count -= buckets[index] ?? 0;
        buckets[index] = 0;
      }
    this.bucket = Math.max(this.bucket, bucket);
    const index = ((this.bucket % BUCKETS) + BUCKETS) % BUCKETS;
    buckets[index] = (buckets[index] ?? 0) + events;
    this.count += events;
  }

  clear(): void {
    this.buckets.fill(0);
    this.count = 0;
  }
}
