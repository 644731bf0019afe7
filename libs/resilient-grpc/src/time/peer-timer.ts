import type { Clock, Timer } from './clock.js';

/** A timer that fires later than this shows that this process did not run. Less is usual on a busy machine. */
export const LATE_MS = 50;
/** The time is measured in this many parts. One that ends late is measured again. */
const PARTS = 8;
const MIN_PART_MS = 50;
/** A timer for less than this would only make up for the rounding of floating-point numbers. */
const ROUNDING_MS = 0.001;

/**
 * Runs a task when a peer has had `ms` milliseconds to send something. Time in which this process did not run (its event loop was
 * blocked, or the system had stopped it) counts against no peer:
 * - The time starts one turn of the event loop later, when what was written before has been sent.
 * - A part of it in which the process stood still is measured again. Together that is at most `ms` more, so that a process that is
 *   always late decides too.
 * - Timers run before sockets are read in a turn of the event loop. So the task runs after pending data has been read, and `clear`
 *   prevents it until then.
 */
export class PeerTimer {
  private timer: Timer | undefined;
  private isCleared = false;
  private leftMs: number;
  /** How much may still be measured again. */
  private againMs: number;
  private partStartedAt = 0;
  private partMs = 0;

  /** @param ms Infinity: the task never runs */
  constructor(
    private readonly clock: Clock,
    ms: number,
    private readonly task: () => void,
    /** The process stays alive for it. */
    private readonly keepAlive = false,
  ) {
    this.leftMs = ms;
    this.againMs = ms;
    this.partMs = Math.max(ms / PARTS, MIN_PART_MS);
    if (ms !== Infinity) clock.defer(this.measure);
  }

  clear(): void {
    this.isCleared = true;
    if (this.timer !== undefined) this.clock.clearTimer(this.timer);
    this.timer = undefined;
  }

  private readonly measure = (): void => {
    if (this.isCleared) return;
    this.partMs = Math.min(this.partMs, this.leftMs);
    this.partStartedAt = this.clock.now();
    this.timer = this.clock.setTimer(this.measured, this.partMs, this.keepAlive);
  };

  private readonly measured = (): void => {
    this.timer = undefined;
    // Some clocks are the wall's, which may be put back.
    const tookMs = Math.max(this.clock.now() - this.partStartedAt, 0);
    if (tookMs - this.partMs > LATE_MS && this.againMs > 0) this.againMs -= this.partMs;
    else this.leftMs -= tookMs;
    if (this.leftMs > ROUNDING_MS) this.measure();
    else this.clock.defer(this.read);
  };

  private readonly read = (): void => {
    if (!this.isCleared) this.task();
  };
}
