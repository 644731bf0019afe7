import type { Clock } from '../../time/clock.js';

/** Number of events that are tolerated at once, and that are forgotten per second. */
export class Allowance {
  private used = 0;
  private since: number;

  constructor(
    private readonly max: number,
    private readonly perSecond: number,
    private readonly clock: Pick<Clock, 'now'>,
  ) {
    this.since = clock.now();
  }

  /** Returns false if there were too many events. */
  take(count: number): boolean {
    this.used += count;
    if (this.used <= this.max) return true;
    const now = this.clock.now();
    const forgotten = ((now - this.since) / 1_000) * this.perSecond;
    this.since = now;
    this.used = Math.max(count, this.used - forgotten);
    return this.used <= this.max;
  }

  /** Tolerates `count` events more, because this side has caused them. */
  extend(count: number): void {
    this.used = Math.max(this.used - count, -this.max);
  }
}
