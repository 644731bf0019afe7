import type { Clock, Timer } from './clock.js';

/** A wait that ends after a set time, or earlier on request. Its timer keeps the process alive, because a caller awaits `over`. */
export class Wait {
  /** Resolves when the wait has ended. */
  readonly over: Promise<void>;
  private timer: Timer | undefined;
  private resolve: () => void = () => undefined;

  /**
   * @param readsFirst true if pending data is read before the wait ends. Timers run before sockets are read, so data that arrived while
   * this process was suspended or blocked would otherwise count as late.
   */
  constructor(
    private readonly clock: Pick<Clock, 'setTimer' | 'defer'>,
    ms: number,
    private readonly readsFirst = false,
  ) {
    this.over = new Promise((resolve) => {
      this.resolve = resolve;
    });
    this.restart(ms);
  }

  restart(ms: number): void {
    this.timer?.clear();
    this.timer = this.clock.setTimer(this.elapsed, ms, true);
  }

  /** Ends the wait now. Does nothing if it has ended. */
  end(): void {
    this.timer?.clear();
    this.resolve();
  }

  private readonly elapsed = (): void => {
    if (this.readsFirst) this.clock.defer(this.resolve);
    else this.resolve();
  };
}
