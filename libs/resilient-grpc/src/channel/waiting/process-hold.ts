import type { Clock, Timer } from '../../time/clock.js';

/** Keeps the process alive while somebody waits, as a queued call of grpc-js does. */
export class ProcessHold {
  private timer: Timer | undefined;

  constructor(private readonly clock: Clock) {}

  begin(): void {
    this.timer ??= this.clock.setTimer(() => undefined, Infinity, true);
  }

  end(): void {
    if (this.timer !== undefined) this.clock.clearTimer(this.timer);
    this.timer = undefined;
  }
}
