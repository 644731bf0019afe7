import type { SchedulerLike } from 'rxjs';
import type { Clock } from '../time/clock.js';
import { timerMs } from './scheduler-options.js';

/**
 * Adapts `scheduler` to a `Clock`. RxJS cannot wait for a turn of the event loop, so `defer` runs its task synchronously. In tests with
 * fake timers, a task therefore runs exactly when it is due.
 */
export function schedulerClock(scheduler: SchedulerLike): Clock {
  return {
    now: () => scheduler.now(),
    epoch: () => scheduler.now(),
    setTimer: (task, ms) => {
      const scheduled = scheduler.schedule(task, timerMs(ms));
      return { clear: () => scheduled.unsubscribe() };
    },
    defer: (task) => {
      task();
    },
  };
}
