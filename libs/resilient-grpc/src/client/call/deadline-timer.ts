import { remainingMs } from '../../policy/deadline/deadline.js';
import type { Clock, Timer } from '../../time/clock.js';

/**
 * Enforces the deadline of a call while no attempt is running, or while interceptors may delay an attempt. Otherwise, the transport
 * enforces it. The timer keeps the process running, because a caller is waiting for the call.
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
