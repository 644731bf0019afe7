// By import: a turn of the event loop is no time, and where a test fakes the timers of its process calls go on.
import { setImmediate } from 'node:timers';

/** A timer that was set; hand it to `clearTimer` of the clock that made it. */
export interface Timer {
  readonly id: unknown;
}

/**
 * Time as a port, so that policies can be tried in virtual time. Elapsed time is monotonic; deadlines that go over the wire
 * are epoch.
 */
export interface Clock {
  /** Milliseconds since some fixed moment; never goes back. */
  now(): number;
  /** Milliseconds since 1970, as the wall shows them. */
  epoch(): number;
  /**
   * Runs `task` once after `ms` milliseconds (clamped to 0 … 2^31−1). `keepAlive` true: the process stays alive for it;
   * only what a caller is waiting for deserves that. @defaultValue keepAlive false
   */
  setTimer(task: () => void, ms: number, keepAlive?: boolean): Timer;
  clearTimer(timer: Timer): void;
  /** Runs `task` in the next turn of the event loop. */
  defer(task: () => void): void;
}

// A longer timer fires after 1 ms (Node), which turns a far deadline into a hot loop.
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** The clock of this process. */
export const systemClock: Clock = {
  now: () => performance.now(),
  epoch: () => Date.now(),
  setTimer(task, ms, keepAlive = false) {
    const id = setTimeout(task, Math.min(Math.max(ms, 0), LONGEST_TIMER_MS));
    if (!keepAlive) id.unref();
    return { id };
  },
  clearTimer(timer) {
    // True: every Timer of this clock was made above.
    clearTimeout(timer.id as NodeJS.Timeout);
  },
  defer(task) {
    setImmediate(task);
  },
};

/** The moment `epochMs` milliseconds after 1970, as a Date. */
export function moment(epochMs: number): Date {
  return new Date(epochMs);
}
