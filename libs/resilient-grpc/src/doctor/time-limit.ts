import { systemClock } from '../time/clock.js';

/** Limits the time of an operation that accepts an `AbortSignal`. */
export class TimeLimit {
  private readonly controller = new AbortController();
  private readonly timer;

  /** @param ms time until the signal aborts, in milliseconds */
  constructor(ms: number) {
    this.timer = systemClock.setTimer(() => this.controller.abort(), ms, true);
  }

  /** Aborts when the time limit is reached. */
  get signal(): AbortSignal {
    return this.controller.signal;
  }

  /** Clears the timer. Call this when the operation has ended. */
  clear(): void {
    this.timer.clear();
  }
}
