import { performance } from 'node:perf_hooks';
import timers from 'node:timers';
import type { Clock } from '../time/clock.js';
import { MAX_TIMER_MS } from '../time/max-timer-ms.js';

// Captured at module load, before a test installs fake timers. Taken from node:timers, because Jest with `fakeTimers: {
// enableGlobally: true }` has already replaced the global functions.
const { setTimeout, clearTimeout, setImmediate } = timers;
const now = performance.now.bind(performance);

/** The system clock, even while a test uses fake timers. */
export const realClock: Pick<Clock, 'now' | 'setTimer' | 'defer'> = {
  now,
  setTimer(task, ms) {
    const id = setTimeout(task, Math.min(ms, MAX_TIMER_MS));
    return {
      clear() {
        clearTimeout(id);
      },
    };
  },
  defer(task) {
    setImmediate(task);
  },
};
