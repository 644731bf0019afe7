import type { Clock, Timer } from '../time/clock.js';

/** The total time of all checks, which ensures that the command ends. */
export class TimeBudget {
  private readonly end: number;

  constructor(
    readonly clock: Clock,
    totalMs: number,
  ) {
    this.end = clock.now() + totalMs;
  }

  /** Returns the remaining milliseconds, at most `mostMs` and at least 1, because some APIs treat 0 as no limit. */
  leftMs(mostMs: number): number {
    return Math.max(1, Math.min(mostMs, this.end - this.clock.now()));
  }

  /** Resolves to the result of `work`, or to `late` if that takes longer than `ms`. */
  async within<T>(ms: number, work: Promise<T>, late: T): Promise<T> {
    let timer: Timer | undefined;
    const elapsed = new Promise<T>((resolve) => {
      // Keeps the process alive, because a caller is waiting and a silent socket does not keep it alive.
      timer = this.clock.setTimer(() => resolve(late), ms, true);
    });
    try {
      return await Promise.race([work, elapsed]);
    } finally {
      timer?.clear();
    }
  }
}
