/** Minimum weight of the latest call in the moving averages. The first calls have equal weights. */
const MIN_SMOOTHING = 0.02;
/** Minimum number of measured calls before the mean and the variance are used. */
const MIN_CALLS = 10;

/**
 * Moving mean and variance of a duration that is measured for calls of one method. For `ServedMethod`, the duration is the CPU time of the
 * handler until it first waits or ends. For the server's `ConcurrencyLimit`, it is the time for which a call holds a permit.
 */
export class ServiceTime {
  private calls = 0;
  private mean = 0;
  private squared = 0;

  /** Mean in milliseconds; 0 before ten calls. */
  get meanMs(): number {
    return this.calls < MIN_CALLS ? 0 : this.mean;
  }

  /** Variance in square milliseconds; 0 before ten calls. */
  get variance(): number {
    return this.calls < MIN_CALLS ? 0 : this.squared;
  }

  note(ms: number): void {
    this.calls += 1;
    const smoothing = Math.max(1 / this.calls, MIN_SMOOTHING);
    const difference = ms - this.mean;
    this.mean += smoothing * difference;
    this.squared = (1 - smoothing) * (this.squared + smoothing * difference * difference);
  }
}
