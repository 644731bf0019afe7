// Imported, because tests may fake the global timers. Calls must still proceed: a turn of the event loop takes no simulated time.
import { setImmediate } from 'node:timers';
import { MAX_TIMER_MS } from './max-timer-ms.js';

/** A running timer. Pass it to `clearTimer` of the clock that created it. */
export interface Timer {
  readonly id: unknown;
}

/**
 * Source of time and timers, injected so that policies can be tested in virtual time. Elapsed time is monotonic; deadlines that are sent
 * to a server are epoch time.
 */
export interface Clock {
  /** Monotonic milliseconds since an arbitrary moment. */
  now(): number;
  /** Milliseconds since 1970, by the system's clock. */
  epoch(): number;
  /**
   * Runs `task` once after `ms` milliseconds (clamped to 0 … 2^31−1). With `keepAlive`, the timer keeps the process alive; use it only
   * if a caller is waiting for the result. @defaultValue keepAlive false
   */
  setTimer(task: () => void, ms: number, keepAlive?: boolean): Timer;
  clearTimer(timer: Timer): void;
  /** Runs `task` in the next turn of the event loop. */
  defer(task: () => void): void;
}

/** The system clock. */
export const systemClock: Clock = {
  now: () => performance.now(),
  epoch: () => Date.now(),
  setTimer(task, ms, keepAlive = false) {
    const id = setTimeout(task, Math.min(Math.max(ms, 0), MAX_TIMER_MS));
    if (!keepAlive) id.unref();
    return { id };
  },
  clearTimer(timer) {
    // Safe: `setTimer` above created every Timer of this clock.
    clearTimeout(timer.id as NodeJS.Timeout);
  },
  defer(task) {
    setImmediate(task);
  },
};

/** Converts milliseconds since 1970 to a Date. */
export function moment(epochMs: number): Date {
  return new Date(epochMs);
}
