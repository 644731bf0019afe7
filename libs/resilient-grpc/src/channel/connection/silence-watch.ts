import type { Clock, Timer } from '../../time/clock.js';

/** Interval of the checks, in milliseconds. */
const INTERVAL_MS = 250;

/** Records how much each connection has received, for the errors of calls that take too long. Runs only while calls are active. */
export class SilenceWatch {
  private timer: Timer | undefined;

  constructor(
    private readonly connections: () => readonly { checkReceived(now: number): void }[],
    private readonly hasActiveCalls: () => boolean,
    private readonly clock: Clock,
  ) {}

  /** Starts the checks when a call begins. */
  wake(): void {
    if (this.timer === undefined) this.scheduleCheck();
  }

  stop(): void {
    this.timer?.clear();
    this.timer = undefined;
  }

  private scheduleCheck(): void {
    const timer = this.clock.setTimer(() => {
      // Deferred, because Node reads what has arrived in this turn if this process was suspended.
      this.clock.defer(() => {
        if (this.timer !== timer) return;
        this.timer = undefined;
        const now = this.clock.now();
        for (const connection of this.connections()) connection.checkReceived(now);
        if (this.hasActiveCalls()) this.scheduleCheck();
      });
    }, INTERVAL_MS);
    this.timer = timer;
  }
}
