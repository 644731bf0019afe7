import type { Clock, Timer } from './clock.js';

/** Interval of the beats, which show that this process runs. */
const BEAT_INTERVAL_MS = 1_000;
/** Maximum time that counts between two beats. Twice the interval, because timers of a busy process are late. */
const MAX_BEAT_MS = 2 * BEAT_INTERVAL_MS;

/**
 * Monotonic time that passes only while this process runs. A period in which the system stopped the process, or its event loop was blocked,
 * counts as at most 2 s. The time is correct even before overdue timers and socket events are processed.
 */
export class RunningTime {
  private elapsedMs = 0;
  private beatAt = 0;
  private timer: Timer | undefined;

  constructor(private readonly clock: Clock) {}

  /** Milliseconds for which this process has run between `start` and `stop`. */
  now(): number {
    return this.timer === undefined ? this.elapsedMs : this.elapsedMs + this.sinceBeatMs;
  }

  /** Starts counting. Does nothing if already started. */
  start(): void {
    if (this.timer !== undefined) return;
    this.beatAt = this.clock.now();
    this.beatLater();
  }

  stop(): void {
    this.elapsedMs = this.now();
    this.timer?.clear();
    this.timer = undefined;
  }

  private get sinceBeatMs(): number {
    return Math.min(this.clock.now() - this.beatAt, MAX_BEAT_MS);
  }

  private beatLater(): void {
    this.timer = this.clock.setTimer(() => {
      this.elapsedMs += this.sinceBeatMs;
      this.beatAt = this.clock.now();
      this.beatLater();
    }, BEAT_INTERVAL_MS);
  }
}
