import { earlyReconnectMs, type EarlyReconnectInput } from '../../policy/reconnect/early-reconnect.js';
import type { Clock, Timer } from '../../time/clock.js';
import type { Random } from '../../time/random.js';

/** Ends grpc-js's backoff early while that helps somebody and hurts nobody. */
export class EarlyReconnectTimer {
  /** When, in milliseconds since 1970. */
  at: number | undefined;
  private timer: Timer | undefined;

  constructor(
    private readonly clock: Clock,
    private readonly random: Random,
    private readonly reconnect: () => void,
  ) {}

  /** Something changed that may allow it. */
  consider(input: EarlyReconnectInput): void {
    if (this.timer !== undefined) return;
    const delayMs = earlyReconnectMs(input, this.random);
    if (delayMs === undefined) return;
    this.at = this.clock.epoch() + delayMs;
    this.timer = this.clock.setTimer(() => {
      this.stop();
      this.reconnect();
    }, delayMs);
  }

  stop(): void {
    if (this.timer !== undefined) this.clock.clearTimer(this.timer);
    this.timer = undefined;
    this.at = undefined;
  }
}
