import type { Clock, Timer } from '../../time/clock.js';

/** Keeps the process alive while a call is waiting, as a queued call of grpc-js does. */
export class KeepProcessAlive {
  private timer: Timer | undefined;

  constructor(private readonly clock: Clock) {}

  begin(): void {
    this.timer ??= this.clock.setTimer(() => undefined, Infinity, true);
  }

  end(): void {
    this.timer?.clear();
    this.timer = undefined;
  }
}
