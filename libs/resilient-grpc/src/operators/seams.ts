import type { SchedulerLike } from 'rxjs';

/** Time and chance, for tests. */
export interface Seams {
  /** Sets the timers and tells the time. @defaultValue asyncScheduler, and monotonic time where lengths are measured */
  readonly scheduler?: SchedulerLike | undefined;
  /** A number in [0, 1). @defaultValue Math.random */
  readonly random?: (() => number) | undefined;
}

// A longer timer fires after 1 ms (Node).
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** `ms` as a timer can take it: whole, and about 24 days at most. */
export function timerMs(ms: number): number {
  return Math.min(Math.max(Math.round(ms), 0), LONGEST_TIMER_MS);
}
