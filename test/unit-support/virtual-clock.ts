import { systemClock } from '../../libs/resilient-grpc/src/time/clock.js';

interface VirtualTimer {
  readonly dueAt: number;
  readonly task: () => void;
}

/**
 * A clock moved only by `advance` and `advanceAsync`. Timers run in the order in which they are due. Timers that are due at the same time
 * run in the order in which they were set.
 */
export class VirtualClock {
  private readonly startedAtEpoch: number;
  private nowMs = 0;
  private timers: VirtualTimer[] = [];

  /** @param epoch the initial value of `epoch()`, in milliseconds since 1970; `now()` starts at 0. @defaultValue 2026-01-01T00:00:00Z */
  constructor(epoch = Date.UTC(2026, 0, 1)) {
    this.startedAtEpoch = epoch;
  }

  now(): number {
    return this.nowMs;
  }

  epoch(): number {
    return this.startedAtEpoch + this.nowMs;
  }

  /**
   * Runs `task` once after `ms` milliseconds, 0 or more. Calling `clear()` on the result prevents this.
   * @throws RangeError if `ms` is NaN
   */
  setTimer(task: () => void, ms: number): { clear(): void } {
    // Rejects NaN, so that a test detects the invalid delay. Node would run such a timer after 1 ms.
    if (Number.isNaN(ms)) throw new RangeError('VirtualClock: expected a delay in milliseconds, got NaN');
    const timer: VirtualTimer = { dueAt: this.nowMs + Math.max(ms, 0), task };
    const later = this.timers.findIndex((other) => other.dueAt > timer.dueAt);
    this.timers.splice(later === -1 ? this.timers.length : later, 0, timer);
    return {
      clear: () => {
        this.timers = this.timers.filter((other) => other !== timer);
      },
    };
  }

  /** Runs `task` during the current or next `advance`, even `advance(0)`. */
  defer(task: () => void): void {
    this.setTimer(task, 0);
  }

  /** Number of pending timers and deferred tasks. */
  get pending(): number {
    return this.timers.length;
  }

  /** Milliseconds until the next timer or deferred task; `undefined` if none is pending. */
  get nextTimerInMs(): number | undefined {
    const next = this.timers[0];
    return next === undefined ? undefined : next.dueAt - this.nowMs;
  }

  /** Advances the time by `ms` and runs the timers that become due, including timers that these timers set. */
  advance(ms: number): void {
    const end = this.nowMs + ms;
    while (this.runNext(end));
    this.nowMs = end;
  }

  /**
   * Like `advance`, but runs pending promise and event callbacks before the first timer and after each timer, so that they can set timers.
   */
  async advanceAsync(ms: number): Promise<void> {
    const end = this.nowMs + ms;
    do await turn();
    while (this.runNext(end));
    this.nowMs = end;
  }

  private runNext(end: number): boolean {
    const timer = this.timers[0];
    if (timer === undefined || timer.dueAt > end) return false;
    this.timers.shift();
    this.nowMs = timer.dueAt;
    timer.task();
    return true;
  }
}

/** Resolves in the next turn of the event loop, after all pending promise callbacks have run. */
export function turn(): Promise<void> {
  return new Promise((resolve) => {
    systemClock.defer(resolve);
  });
}
