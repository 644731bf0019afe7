// `setImmediate` is imported, so that calls proceed in tests that fake the global timers. Tests need not fake it, because a turn of the
// event loop takes no simulated time.
import { AsyncLocalStorage } from 'node:async_hooks';
import { setImmediate } from 'node:timers';

/**
 * Maximum delay of a timer in milliseconds, which is 24.8 days. Node fires a longer timer after 1 ms, so a distant deadline would cause a
 * busy loop.
 */
export const MAX_TIMER_MS = 2 ** 31 - 1;

/** A timer that runs one task. Its creator must clear it if the task is no longer needed. */
export interface Timer {
  /** Prevents the task from running. Does nothing if the task has run, or the timer has already been cleared. */
  clear(): void;
}

/** Source of time and timers, injected so that policies can be tested in virtual time. Elapsed time is monotonic. */
export interface Clock {
  /** Monotonic milliseconds since an arbitrary moment. */
  now(): number;
  /** Wall-clock time in milliseconds since 1970. */
  epoch(): number;
  /**
   * Runs `task` once after `ms` milliseconds (clamped to 0 … 2^31−1). If `keepAlive` is true, the timer keeps the process alive; pass
   * true only if a caller is waiting for the result. `keepAlive` defaults to false.
   */
  setTimer(task: () => void, ms: number, keepAlive?: boolean): Timer;
  /** Runs `task` in the next turn of the event loop. */
  defer(task: () => void): void;
}

class SystemTimer implements Timer {
  constructor(private readonly id: NodeJS.Timeout) {}

  clear(): void {
    clearTimeout(this.id);
  }
}

export const systemClock: Clock = {
  now: () => performance.now(),
  epoch: () => Date.now(),
  setTimer(task, ms, keepAlive = false) {
    const id = setTimeout(task, Math.min(Math.max(ms, 0), MAX_TIMER_MS));
    if (!keepAlive) id.unref();
    return new SystemTimer(id);
  },
  defer(task) {
    setImmediate(task);
  },
};

/** Runs `work` outside the async context of the request that happens to be served, for example its trace. */
export const runOutside: <T>(work: () => T) => T = AsyncLocalStorage.snapshot();

/** Resolves in the next turn of the event loop. */
export function nextTurn(clock: Pick<Clock, 'defer'>): Promise<void> {
  return new Promise((resolve) => {
    clock.defer(resolve);
  });
}

/** Returns the total time for which the event loop of this process or worker thread has waited for events, in milliseconds. */
export function eventLoopIdleMs(): number {
  return performance.nodeTiming.idleTime;
}

/** True for a Date, even from another realm (a test runner's sandbox), which is not an instance of this realm's Date. */
export function isDate(value: unknown): value is Date {
  return Object.prototype.toString.call(value) === '[object Date]';
}

/** Converts milliseconds since 1970 to a Date. */
export function moment(epochMs: number): Date {
  return new Date(epochMs);
}
