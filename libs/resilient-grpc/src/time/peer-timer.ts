import type { Clock, Timer } from './clock.js';

/** Delay of a timer, in milliseconds, above which this process is assumed not to have run. Smaller delays are common on a busy machine. */
const MAX_LAG_MS = 50;
/** Number of parts into which the time is divided, unless `MIN_PART_MS` or `MAX_PART_MS` applies. A late part is measured again. */
const PART_COUNT = 8;
const MIN_PART_MS = 50;
/** Maximum duration of a part, in milliseconds. After a pause of this process, the whole part is measured again. */
const MAX_PART_MS = 5_000;
/**
 * Maximum time in milliseconds by which Node's timers fire early. A part of at most twice this duration counts as complete when its timer
 * fires, regardless of the clock.
 */
const MAX_EARLY_MS = 1;

/**
 * Runs a task after a peer has had `ms` milliseconds to send something. Time during which this process did not run, because its event loop
 * was blocked or the system had stopped the process, does not count:
 * - The time starts in the next turn of the event loop, when data that was written before the timer was created has been sent.
 * - A part that ends late is measured again, until `ms` milliseconds have been excluded this way. Later delays count toward the time, so
 *   that the task also runs in a process that is always late. The task runs after at most twice `ms`, plus the duration
 *   of the last excluded part and the delay of the final part.
 * - In a turn of the event loop, timers run before sockets are read. The task is therefore deferred until pending data has been read. Until
 *   then, `clear` prevents the task from running.
 */
export class PeerTimer implements Timer {
  /** Milliseconds that were excluded from the peer's time. */
  excludedMs = 0;
  private timer: Timer | undefined;
  private isCleared = false;
  private leftMs: number;
  private partStartedAt = 0;
  private partMs: number;

  /**
   * @param ms time that the peer has; if it is `Infinity`, the task never runs
   * @param keepAlive true if the process must stay alive for the task
   */
  constructor(
    private readonly clock: Clock,
    private readonly ms: number,
    private readonly task: () => void,
    private readonly keepAlive = false,
  ) {
    this.leftMs = ms;
    this.partMs = Math.min(Math.max(ms / PART_COUNT, MIN_PART_MS), MAX_PART_MS);
    if (ms !== Infinity) clock.defer(this.measure);
  }

  clear(): void {
    this.isCleared = true;
    this.timer?.clear();
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
    // Counts at least `minMs`, because a timer that fired proves that its time has passed, even if the clock did not advance (fake timers)
    // or was set back.
    const minMs = this.partMs > 2 * MAX_EARLY_MS ? this.partMs - MAX_EARLY_MS : this.partMs;
    const tookMs = Math.max(this.clock.now() - this.partStartedAt, minMs);
    if (tookMs - this.partMs > MAX_LAG_MS && this.excludedMs < this.ms) this.excludedMs += tookMs;
    else this.leftMs -= tookMs;
    if (this.leftMs > 0) this.measure();
    else this.clock.defer(this.runTask);
  };

  private readonly runTask = (): void => {
    if (!this.isCleared) this.task();
  };
}

/**
 * Runs `task` after `ms` milliseconds. `stoppedMs` is the time by which the timer was late because this process did not run; 0 if that is
 * at most `MAX_LAG_MS`.
 */
export function setPollTimer(clock: Clock, ms: number, task: (stoppedMs: number) => void): Timer {
  const dueAt = clock.now() + ms;
  return clock.setTimer(() => {
    const lateMs = clock.now() - dueAt;
    task(lateMs > MAX_LAG_MS ? lateMs : 0);
  }, ms);
}
