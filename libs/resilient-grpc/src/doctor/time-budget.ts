import { systemClock, type Timer } from '../time/clock.js';

/** The total time of all checks, which ensures that the command ends. */
export class TimeBudget {
  private readonly end: number;

  constructor(totalMs: number) {
    this.end = systemClock.now() + totalMs;
  }

  /** Returns the remaining milliseconds, at most `maxMs` and at least 1, because some APIs treat 0 as no limit. */
  leftMs(maxMs: number): number {
    return Math.max(1, Math.min(maxMs, this.end - systemClock.now()));
  }
}

/** Resolves to the result of `work`, or to `late` if that takes longer than `ms`. */
export async function within<T>(ms: number, work: Promise<T>, late: T): Promise<T> {
  let timer: Timer | undefined;
  const elapsed = new Promise<T>((resolve) => {
    // Keeps the process alive, because a caller is waiting and a silent socket does not keep it alive.
    timer = systemClock.setTimer(() => resolve(late), ms, true);
  });
  try {
    return await Promise.race([work, elapsed]);
  } finally {
    timer?.clear();
  }
}
