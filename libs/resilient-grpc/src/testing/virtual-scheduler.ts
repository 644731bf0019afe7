import { VirtualAction, VirtualTimeScheduler } from 'rxjs';
import { nextTurn, systemClock } from '../time/clock.js';

/**
 * An RxJS scheduler with virtual time that only `pass` advances. Promise callbacks run between timers, for code that combines timers with
 * `await`.
 */
export class VirtualScheduler extends VirtualTimeScheduler {
  constructor() {
    super(VirtualAction, Infinity);
  }

  /** Number of pending timers. */
  get pending(): number {
    return this.actions.filter(({ closed }) => !closed).length;
  }

  /**
   * Advances the time by `ms`. Runs the timers that become due, including timers that these timers set, and the resulting promise
   * callbacks.
   */
  async pass(ms: number): Promise<void> {
    const end = this.frame + ms;
    await nextTurn(systemClock);
    for (let next = this.nextAt(); next <= end; next = this.nextAt()) {
      this.maxFrames = next;
      this.flush();
      await nextTurn(systemClock);
    }
    this.frame = end;
  }

  private nextAt(): number {
    return Math.min(Infinity, ...this.actions.map(({ delay }) => delay));
  }
}
