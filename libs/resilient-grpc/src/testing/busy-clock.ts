import type { Timer } from '../time/clock.js';
import { VirtualClock } from './virtual-clock.js';

/**
 * Virtual time of a process whose event loop can be blocked. Timers run in the order in which they are due, before what they defer, so
 * that a timer set for the arrival of data stands for a socket that is read behind the other timers of its turn.
 */
export class BusyClock extends VirtualClock {
  private blockedUntil = -Infinity;
  private readonly postponed = new Map<unknown, Timer>();

  /** Nothing runs for `ms` from now on; what falls due meanwhile runs when that is over. */
  block(ms: number): void {
    this.blockedUntil = this.now() + ms;
  }

  override setTimer(task: () => void, ms: number): Timer {
    const run = (): void => {
      const leftMs = this.blockedUntil - this.now();
      if (leftMs > 0) this.postponed.set(timer.id, super.setTimer(run, leftMs));
      else task();
    };
    const timer = super.setTimer(run, ms);
    return timer;
  }

  override clearTimer(timer: Timer): void {
    super.clearTimer(this.postponed.get(timer.id) ?? timer);
  }
}
