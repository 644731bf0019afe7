import { VirtualAction, VirtualTimeScheduler } from 'rxjs';
import { systemClock } from '../time/clock.js';

/** RxJS's virtual time, which passes only when told to, and lets promises run in between: for what is both timed and awaited. */
export class VirtualScheduler extends VirtualTimeScheduler {
  constructor() {
    super(VirtualAction, Infinity);
  }

  /** Timers that are set. */
  get pending(): number {
    return this.actions.filter(({ closed }) => !closed).length;
  }

  /** Lets `ms` pass and runs what falls due meanwhile, also what such a task sets, and the promises that follow from it. */
  async pass(ms: number): Promise<void> {
    const end = this.frame + ms;
    await turn();
    for (let next = this.nextAt(); next <= end; next = this.nextAt()) {
      this.maxFrames = next;
      this.flush();
      await turn();
    }
    this.frame = end;
  }

  private nextAt(): number {
    return Math.min(Infinity, ...this.actions.map(({ delay }) => delay));
  }
}

/** Everything that promises bring about now has happened. */
export function turn(): Promise<void> {
  return new Promise((resolve) => {
    systemClock.defer(resolve);
  });
}
