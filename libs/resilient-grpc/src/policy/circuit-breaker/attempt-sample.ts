import type { AttemptCounts } from './next-circuit.js';

const BUCKETS = 10;

/**
 * Counts the attempts within the sampling time in ten rolling buckets, without allocating per attempt. Times are monotonic milliseconds.
 */
export class AttemptSample implements AttemptCounts {
  private readonly bucketMs: number;
  private readonly failed = new Float64Array(BUCKETS);
  private readonly all = new Float64Array(BUCKETS);
  /** Number of the bucket being filled, counted from time 0. */
  private bucket = -Infinity;
  failures = 0;
  total = 0;

  constructor(durationMs: number) {
    this.bucketMs = durationMs / BUCKETS;
  }

  add(isFailure: boolean, now: number): void {
    const bucket = Math.floor(now / this.bucketMs);
    // If the clock goes back, the latest bucket is used.
    if (bucket > this.bucket) this.roll(bucket);
    const index = indexOfBucket(this.bucket);
    this.all[index] = (this.all[index] ?? 0) + 1;
    this.total += 1;
    if (!isFailure) return;
    this.failed[index] = (this.failed[index] ?? 0) + 1;
    this.failures += 1;
  }

  clear(): void {
    this.failed.fill(0);
    this.all.fill(0);
    this.failures = 0;
    this.total = 0;
  }

  // Clears the buckets that have started since the last attempt, because they still contain attempts older than the sampling time.
  private roll(bucket: number): void {
    if (bucket - this.bucket >= BUCKETS) this.clear();
    else {
      for (let passed = this.bucket + 1; passed <= bucket; passed++) {
        const index = indexOfBucket(passed);
        this.total -= this.all[index] ?? 0;
        this.failures -= this.failed[index] ?? 0;
        this.all[index] = 0;
        this.failed[index] = 0;
      }
    }
    this.bucket = bucket;
  }
}

// Handles negative times, too, which a scheduler may report.
function indexOfBucket(bucket: number): number {
  return ((bucket % BUCKETS) + BUCKETS) % BUCKETS;
}
