import { remainingMs } from '../../policy/deadline/deadline.js';
import type { Clock, Timer } from '../../time/clock.js';

/**
 * Enforces the deadline of a call or stream while the transport does not: while no attempt is running, while interceptors may delay an
 * attempt, and during an attempt that carries its own timeout instead of the deadline. The timer keeps the process running, because a
 * caller is waiting for the call.
 */
export class DeadlineTimer implements Timer {
  /** Time at which the deadline passes, in monotonic milliseconds. As in grpc-js, a change of the wall clock does not move this time. */
  private readonly dueAt: number;
  private timer: Timer;

  constructor(
    deadline: number,
    private readonly clock: Clock,
    private readonly passed: () => void,
  ) {
    const leftMs = remainingMs(deadline, clock.epoch());
    this.dueAt = clock.now() + leftMs;
    this.timer = this.arm(leftMs);
  }

  clear(): void {
    this.timer.clear();
  }

  private arm(ms: number): Timer {
    const fired = (): void => {
      // Starts the timer again if time is left, because a timer lasts at most 24 days and may fire slightly early.
      const leftMs = this.dueAt - this.clock.now();
      if (leftMs > 0) this.timer = this.arm(leftMs);
      else this.passed();
    };
    return this.clock.setTimer(fired, ms, true);
  }
}
