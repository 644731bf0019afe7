import { systemClock } from '../time/clock.js';
import type { Clock, Timer } from '../time/clock.js';

interface VirtualTimer {
  readonly dueAt: number;
  readonly task: () => void;
}

/** Time that passes only when told to. Timers run in the order in which they are due, ties in the order they were set. */
export class VirtualClock implements Clock {
  readonly #startedAtEpoch: number;
  #now = 0;
  #timers: VirtualTimer[] = [];

  /** `epoch`: what `epoch()` gives at the beginning, while `now()` is 0. @defaultValue 2026-01-01T00:00:00Z */
  constructor(epoch = Date.UTC(2026, 0, 1)) {
    this.#startedAtEpoch = epoch;
  }

  now(): number {
    return this.#now;
  }

  epoch(): number {
    return this.#startedAtEpoch + this.#now;
  }

  setTimer(task: () => void, ms: number): Timer {
    // NaN is refused here because Node would run such a timer at once, and a test should not hide that.
    if (Number.isNaN(ms)) throw new RangeError('VirtualClock: a timer of NaN ms');
    const timer: VirtualTimer = { dueAt: this.#now + Math.max(ms, 0), task };
    const later = this.#timers.findIndex((other) => other.dueAt > timer.dueAt);
    this.#timers.splice(later === -1 ? this.#timers.length : later, 0, timer);
    return { id: timer };
  }

  clearTimer(timer: Timer): void {
    this.#timers = this.#timers.filter((other) => other !== timer.id);
  }

  /** Runs `task` at the next `advance`, also of 0 ms. */
  defer(task: () => void): void {
    this.setTimer(task, 0);
  }

  /** Timers and deferred tasks that are set. */
  get pending(): number {
    return this.#timers.length;
  }

  /** Milliseconds to the next timer; undefined when none is set. */
  get nextTimerInMs(): number | undefined {
    const next = this.#timers[0];
    return next === undefined ? undefined : next.dueAt - this.#now;
  }

  /** Lets `ms` pass and runs what falls due meanwhile, also what such a task sets. */
  advance(ms: number): void {
    const end = this.#now + ms;
    while (this.#runNext(end));
    this.#now = end;
  }

  /** Like `advance`, and after each timer lets promises and callbacks of this process run, so that they may set more. */
  async advanceAsync(ms: number): Promise<void> {
    const end = this.#now + ms;
    do await turn();
    while (this.#runNext(end));
    this.#now = end;
  }

  #runNext(end: number): boolean {
    const timer = this.#timers[0];
    if (timer === undefined || timer.dueAt > end) return false;
    this.#timers.shift();
    this.#now = timer.dueAt;
    timer.task();
    return true;
  }
}

function turn(): Promise<void> {
  return new Promise((resolve) => {
    systemClock.defer(resolve);
  });
}
