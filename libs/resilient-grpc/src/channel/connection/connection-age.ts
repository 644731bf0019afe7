import type { Clock, Timer } from '../../time/clock.js';
import { jitter, type Random } from '../../time/random.js';

/** Calls `oldEnough` when a connection is due for replacement: after `maxAgeMs` ± 10 %, or never if that is `undefined`. */
export class ConnectionAge {
  private timer: Timer | undefined;

  constructor(
    private readonly maxAgeMs: number | undefined,
    private readonly clock: Clock,
    private readonly random: Random,
    private readonly oldEnough: () => void,
  ) {}

  /** Starts the timer if it is not running. */
  start(): void {
    if (this.maxAgeMs === undefined || this.timer !== undefined) return;
    this.timer = this.clock.setTimer(
      () => {
        this.timer = undefined;
        this.oldEnough();
      },
      jitter(this.maxAgeMs, 0.1, this.random),
    );
  }

  stop(): void {
    this.timer?.clear();
    this.timer = undefined;
  }
}
