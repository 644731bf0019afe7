import type { Sample } from './next-circuit.js';

const BUCKETS = 10;

/** Attempts of the last while, in ten buckets that roll on: nothing is allocated for an attempt. Times are monotonic. */
export class AttemptSample implements Sample {
  readonly #bucketMs: number;
  readonly #failed = new Float64Array(BUCKETS);
  readonly #all = new Float64Array(BUCKETS);
  /** Number of the bucket being filled, as counted from time 0. */
  #bucket = -Infinity;
  failures = 0;
  total = 0;

  constructor(durationMs: number) {
    this.#bucketMs = durationMs / BUCKETS;
  }

  add(isFailure: boolean, now: number): void {
    const bucket = Math.floor(now / this.#bucketMs);
    // A clock that went back goes on filling the latest bucket.
    if (bucket > this.#bucket) this.#roll(bucket);
    const index = mod(this.#bucket);
    this.#all[index] = (this.#all[index] ?? 0) + 1;
    this.total += 1;
    if (!isFailure) return;
    this.#failed[index] = (this.#failed[index] ?? 0) + 1;
    this.failures += 1;
  }

  clear(): void {
    this.#failed.fill(0);
    this.#all.fill(0);
    this.failures = 0;
    this.total = 0;
  }

  // All that passed since are emptied, also after a silence: what is older than the sampling time must not count.
  #roll(bucket: number): void {
    if (bucket - this.#bucket >= BUCKETS) this.clear();
    else {
      for (let passed = this.#bucket + 1; passed <= bucket; passed++) {
        const index = mod(passed);
        this.total -= this.#all[index] ?? 0;
        this.failures -= this.#failed[index] ?? 0;
        this.#all[index] = 0;
        this.#failed[index] = 0;
      }
    }
    this.#bucket = bucket;
  }
}

// Also for times before 0, as a scheduler may have them.
function mod(bucket: number): number {
  return ((bucket % BUCKETS) + BUCKETS) % BUCKETS;
}
