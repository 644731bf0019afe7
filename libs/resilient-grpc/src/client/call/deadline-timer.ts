import { remainingMs } from '../../policy/deadline/deadline.js';
import type { Clock, Timer } from '../../time/clock.js';

/**
 * Enforces the deadline of a call while grpc-js does not: while no attempt is running, or interceptors may delay one. It keeps the process
 * alive, because a caller waits for it.
 */
export class DeadlineTimer {
  private timer: Timer | undefined;

  constructor(
    private readonly deadline: number,
    private readonly clock: Clock,
    private readonly passed: () => void,
  ) {}

  arm(): void {
    this.timer ??= this.clock.setTimer(this.fired, remainingMs(this.deadline, this.clock.epoch()), true);
  }

  disarm(): void {
    this.timer?.clear();
    this.timer = undefined;
  }

  private readonly fired = (): void => {
    this.timer = undefined;
    // A timer lasts 24 days at most, and may fire slightly early.
    if (this.clock.epoch() < this.deadline) this.arm();
    else this.passed();
  };
}
