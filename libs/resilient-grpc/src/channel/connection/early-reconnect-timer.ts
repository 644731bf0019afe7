import { earlyReconnectMs, type EarlyReconnectInput } from '../../policy/reconnect/early-reconnect.js';
import type { Clock, Timer } from '../../time/clock.js';
import type { Random } from '../../time/random.js';

/** Ends grpc-js's backoff early if the policy allows it: while calls wait, and if the failure was cheap for the server. */
export class EarlyReconnectTimer {
  /** Time of the early reconnect, in milliseconds since 1970; `undefined` if none is scheduled. */
  at: number | undefined;
  private timer: Timer | undefined;

  constructor(
    private readonly clock: Clock,
    private readonly random: Random,
    private readonly reconnect: () => void,
  ) {}

  /** Schedules an early reconnect if `input` allows one and none is scheduled. */
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
    this.timer?.clear();
    this.timer = undefined;
    this.at = undefined;
  }
}
