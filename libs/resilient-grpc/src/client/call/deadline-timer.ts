import { remainingMs } from '../../policy/deadline/deadline.js';
import type { Clock, Timer } from '../../time/clock.js';

/**
 * Enforces the deadline of a call or stream while the transport does not: while no attempt is running, while interceptors may delay an
 * attempt, and during an attempt that carries its own timeout instead of the deadline. The timer keeps the process running, because a
 * caller is waiting for the call.
 */
export class DeadlineTimer implements Timer {
  private timer: Timer;

  constructor(
    private readonly deadline: number,
    private readonly clock: Clock,
    private readonly passed: () => void,
  ) {
    this.timer = this.arm();
  }

  clear(): void {
    this.timer.clear();
  }

  private arm(): Timer {
    const fired = (): void => {
      // A timer lasts 24 days at most, and may fire slightly early.
      if (this.clock.epoch() < this.deadline) this.timer = this.arm();
      else this.passed();
    };
    return this.clock.setTimer(fired, remainingMs(this.deadline, this.clock.epoch()), true);
  }
}
