/**
 * Threshold in milliseconds: calls are taken to be waiting for handlers if the time in handlers exceeds the time between handlers by more
 * than this value.
 */
const LATE_AFTER_MS = 10;
/** Maximum busy time that is counted, in milliseconds, so that even a long busy period ends soon after the load ends. */
const MAX_BUSY_MS = 10 * LATE_AFTER_MS;
/**
 * Maximum idle time between two batches of a busy period, in milliseconds. A longer idle time ends the busy period, because the process was
 * waiting for calls.
 */
const MAX_IDLE_MS = 0.5;

/**
 * Detects that handlers run back to back while calls wait for them. A batch is a call and all calls that arrive before its handler
 * completes its synchronous work and microtasks. The time between batches, in which the process reads requests, is subtracted from the busy
 * time. A queue in front of the handlers has no benefit if handling a request takes less time than reading it. Only idle time ends a busy
 * period at once: on a machine with other load, the time between two batches can be long even though the requests are already in the socket
 * buffer.
 */
export class BusyPeriod {
  private busyMs = 0;
  private batchStartedAt: number | undefined;
  private endedAt = -Infinity;
  private lastIdleMs = 0;

  /** @param idleMs returns the total time for which the event loop has waited for events, in milliseconds */
  constructor(private readonly idleMs: () => number) {}

  /** True if a batch has started and not ended. */
  get isInBatch(): boolean {
    return this.batchStartedAt !== undefined;
  }

  /** Returns true if a call that arrives at `now` should wait in a queue. */
  isLate(now: number): boolean {
    if (this.batchStartedAt !== undefined) return this.busyMs + now - this.batchStartedAt > LATE_AFTER_MS;
    const idleMs = this.idleMs();
    const wasIdle = idleMs - this.lastIdleMs > MAX_IDLE_MS;
    this.lastIdleMs = idleMs;
    this.busyMs = wasIdle ? 0 : Math.max(0, this.busyMs - (now - this.endedAt));
    return this.busyMs > LATE_AFTER_MS;
  }

  /** Starts a batch. */
  begin(now: number): void {
    this.batchStartedAt ??= now;
  }

  /** Ends the batch, and returns its duration. */
  end(now: number): number {
    const ms = now - (this.batchStartedAt ?? now);
    this.busyMs = Math.min(this.busyMs + ms, MAX_BUSY_MS);
    this.batchStartedAt = undefined;
    this.endedAt = now;
    return ms;
  }
}
