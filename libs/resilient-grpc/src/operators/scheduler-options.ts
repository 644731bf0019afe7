import type { SchedulerLike } from 'rxjs';
import { MAX_TIMER_MS } from '../time/max-timer-ms.js';

/** Scheduler and random source, for tests. */
export interface SchedulerOptions {
  /** Schedules the timers and supplies the current time. @defaultValue asyncScheduler; durations are measured with monotonic time */
  readonly scheduler?: SchedulerLike | undefined;
  /** Returns a number in [0, 1). @defaultValue Math.random */
  readonly random?: (() => number) | undefined;
}

/** `ms` rounded and clamped to the range of a Node timer: 0 to about 24 days. */
export function timerMs(ms: number): number {
  return Math.min(Math.max(Math.round(ms), 0), MAX_TIMER_MS);
}
