import { asyncScheduler, type SchedulerLike } from 'rxjs';
import * as v from 'valibot';
import { systemClock, type Clock, MAX_TIMER_MS } from '../time/clock.js';

/** Scheduler and random source, for tests. */
export interface SchedulerOptions {
  /** Schedules the timers and supplies the current time. @defaultValue asyncScheduler; durations are measured with monotonic time */
  readonly scheduler?: SchedulerLike | undefined;
  /** Returns a number in [0, 1). @defaultValue Math.random */
  readonly random?: (() => number) | undefined;
}

export const schedulerEntries = { scheduler: v.optional(v.unknown()), random: v.optional(v.unknown()) };

/**
 * Adapts `scheduler` to a `Clock`. If `scheduler` is `undefined`, uses RxJS's timers and measures durations with monotonic time. RxJS
 * cannot wait for a turn of the event loop, so `defer` runs its task synchronously. In tests with fake timers, a task therefore runs
 * exactly when it is due.
 */
export function schedulerClock(scheduler: SchedulerLike | undefined): Clock {
  const timers = scheduler ?? asyncScheduler;
  return {
    // The default scheduler uses wall-clock time, which can be set back.
    now: () => scheduler?.now() ?? systemClock.now(),
    epoch: () => timers.now(),
    setTimer: (task, ms) => {
      const scheduled = timers.schedule(task, timerMs(ms));
      return { clear: () => scheduled.unsubscribe() };
    },
    defer: (task) => {
      task();
    },
  };
}

/** Returns `ms`, rounded and clamped to the range of a Node timer: 0 to 24.8 days. */
export function timerMs(ms: number): number {
  return Math.min(Math.max(Math.round(ms), 0), MAX_TIMER_MS);
}
