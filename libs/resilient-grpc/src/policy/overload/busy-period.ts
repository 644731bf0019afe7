/**
 * Threshold in milliseconds: calls are taken to be waiting for handlers if the time in handlers exceeds the time between handlers by more
 * than this value.
 */
const LATE_AFTER_MS = 10;
/**
 * Maximum time between two batches of a busy period, in milliseconds. A longer gap is taken to mean that the process was waiting for calls.
 */
const MAX_GAP_MS = 0.5;

/**
 * Detects that handlers run back to back while calls wait for them. A batch is a call and all calls that arrive before the synchronous
 * work and the microtasks of its handler end. Time between batches is subtracted from the busy time. If handling a request takes less time
 * than reading it, a queue in front of the handlers has no benefit.
 */
export class BusyPeriod {
  private busyMs = 0;
  private batchStartedAt: number | undefined;
  private endedAt = -Infinity;

  /** True if a batch has started and not ended. */
  get isInBatch(): boolean {
    return this.batchStartedAt !== undefined;
  }

  /** Returns true if a call that arrives at `now` should wait in a queue. */
  isLate(now: number): boolean {
    if (this.batchStartedAt !== undefined) return this.busyMs + now - this.batchStartedAt > LATE_AFTER_MS;
    const gapMs = now - this.endedAt;
    this.busyMs = gapMs > MAX_GAP_MS ? 0 : Math.max(0, this.busyMs - gapMs);
    return this.busyMs > LATE_AFTER_MS;
  }

  /** Starts a batch. */
  begin(now: number): void {
    this.batchStartedAt ??= now;
  }

  /** Ends the batch, and returns its duration. */
  end(now: number): number {
    const ms = now - (this.batchStartedAt ?? now);
    // Bounded, so that even a long busy period ends soon after the load.
    this.busyMs = Math.min(this.busyMs + ms, 2 * LATE_AFTER_MS);
    this.batchStartedAt = undefined;
    this.endedAt = now;
    return ms;
  }
}
