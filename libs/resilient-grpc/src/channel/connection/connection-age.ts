import type { Clock, Timer } from '../../time/clock.js';
import { jitter, type Random } from '../../time/random.js';

/** Says when a connection is old enough to be replaced: at `maxAgeMs` ± 10 %, or never without it. */
export class ConnectionAge {
  private timer: Timer | undefined;

  constructor(
    private readonly maxAgeMs: number | undefined,
    private readonly clock: Clock,
    private readonly random: Random,
    private readonly oldEnough: () => void,
  ) {}

  /** Counts from now, unless it counts already. */
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
    if (this.timer !== undefined) this.clock.clearTimer(this.timer);
    this.timer = undefined;
  }
}
