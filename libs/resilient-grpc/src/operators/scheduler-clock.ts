import { asyncScheduler, type SchedulerLike } from 'rxjs';
import { systemClock, type Clock } from '../time/clock.js';
import { timerMs } from './scheduler-options.js';

/**
 * Adapts `scheduler` to a `Clock`; by default, RxJS's timers with monotonic time. RxJS cannot wait for a turn of the event loop, so `defer`
 * runs its task synchronously. In tests with fake timers, a task therefore runs exactly when it is due.
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
