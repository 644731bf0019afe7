import type { Clock, Timer } from '../time/clock.js';

/** The time that all checks have together, so that none of them makes somebody wait for ever. */
export class TimeBudget {
  private readonly end: number;

  constructor(
    readonly clock: Clock,
    totalMs: number,
  ) {
    this.end = clock.now() + totalMs;
  }

  /** What is left, at most `mostMs`; never 0, as that is no bound for some. */
  leftMs(mostMs: number): number {
    return Math.max(1, Math.min(mostMs, this.end - this.clock.now()));
  }

  /** What `work` gives, or `late` when that takes longer than `ms`. */
  async within<T>(ms: number, work: Promise<T>, late: T): Promise<T> {
    let timer: Timer | undefined;
    const elapsed = new Promise<T>((resolve) => {
      // Somebody waits for it: a socket that is silent keeps no process alive.
      timer = this.clock.setTimer(() => resolve(late), ms, true);
    });
    try {
      return await Promise.race([work, elapsed]);
    } finally {
      if (timer !== undefined) this.clock.clearTimer(timer);
    }
  }
}
