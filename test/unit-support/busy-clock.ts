import type { Timer } from '../../libs/resilient-grpc/src/time/clock.js';
import { VirtualClock } from './virtual-clock.js';

/**
 * A virtual clock of a process whose event loop can be blocked. Timers run in the order in which they are due, before the tasks that they
 * defer. A timer set to the arrival time of data therefore models the read of a socket: it runs after the earlier timers of the same turn
 * and before the tasks that they defer.
 */
export class BusyClock extends VirtualClock {
  private blockedUntil = -Infinity;
  private steppedMs = 0;

  /** Blocks the event loop for `ms`, starting now. Timers that become due during this time run when it ends. */
  block(ms: number): void {
    this.blockedUntil = this.now() + ms;
  }

  /** Steps the wall clock by `ms`, as time synchronization does. Timers and `now()` are unaffected. */
  step(ms: number): void {
    this.steppedMs += ms;
  }

  override epoch(): number {
    return super.epoch() + this.steppedMs;
  }

  override setTimer(task: () => void, ms: number): Timer {
    const run = (): void => {
      const leftMs = this.blockedUntil - this.now();
      if (leftMs > 0) timer = super.setTimer(run, leftMs);
      else task();
    };
    let timer = super.setTimer(run, ms);
    return { clear: () => timer.clear() };
  }
}
