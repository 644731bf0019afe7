import type { SchedulerLike, Subscription } from 'rxjs';
import type { Clock } from '../time/clock.js';
import { timerMs } from './seams.js';

/**
 * `scheduler` as a clock. RxJS has no turn of the event loop to wait for, so `defer` runs its task at once: tests with fake timers see
 * what is due at its own time.
 */
export function schedulerClock(scheduler: SchedulerLike): Clock {
  return {
    now: () => scheduler.now(),
    epoch: () => scheduler.now(),
    setTimer: (task, ms) => ({ id: scheduler.schedule(task, timerMs(ms)) }),
    clearTimer: ({ id }) => {
      // True: every timer of this clock was made above.
      (id as Subscription).unsubscribe();
    },
    defer: (task) => {
      task();
    },
  };
}
