import { systemClock } from '../time/clock.js';
import { Wait } from '../time/wait.js';

/** Remaining time in milliseconds below which no step starts, because a connection or a call to a healthy server can take longer. */
const MIN_STEP_MS = 100;

export class TimeLimit {
  private readonly end: number;
  private readonly minStepMs: number;

  constructor(totalMs: number) {
    this.minStepMs = Math.min(MIN_STEP_MS, totalMs / 10);
    this.end = systemClock.now() + totalMs;
  }

  /** True if the remaining time is too short for another step, whose failure would show only that the time is used up. */
  get isUsedUp(): boolean {
    return this.end - systemClock.now() < this.minStepMs;
  }

  /** Returns the remaining milliseconds, at most `maxMs` and at least 1, because some APIs treat 0 as no limit. */
  leftMs(maxMs: number): number {
    return Math.max(1, Math.round(Math.min(maxMs, this.end - systemClock.now())));
  }
}

/** Resolves to the result of `work`, or to `late` if `work` takes longer than `ms`. */
export async function within<T>(ms: number, work: Promise<T>, late: T): Promise<T> {
  // The timer keeps the process alive even if `work` does not.
  const wait = new Wait(systemClock, ms);
  try {
    return await Promise.race([work, wait.over.then(() => late)]);
  } finally {
    wait.end();
  }
}
