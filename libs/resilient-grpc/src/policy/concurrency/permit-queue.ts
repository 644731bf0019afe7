import type { PermitOutcome } from './permit-outcome.js';

/** Limits on concurrent and queued calls. */
export interface ConcurrencyPolicy {
  /** Maximum number of concurrent calls; 1 or more. */
  readonly maxConcurrent: number;
  /** Maximum number of queued calls; 0 rejects a call immediately if all permits are taken. */
  readonly maxQueued: number;
}

/** Default of `maxQueued`. */
export const DEFAULT_MAX_QUEUED = 1_000;

/** Waiter for a permit. */
export interface PermitWaiter {
  /**
   * Deadline in milliseconds of the clock passed to `PermitQueue.release`; Infinity if there is none. A waiter whose deadline has
   * passed gets no permit.
   */
  readonly deadline: number;
  /** Called when the waiter gets a permit, which it must return with `release`. Never called inside `acquire`. */
  permitted(): void;
}

/**
 * Permits with a bounded FIFO queue. It sets no timers: a waiter that times out must call `remove`, and is skipped if its turn comes
 * before that.
 */
export class PermitQueue {
  // A Set keeps insertion order and removes any waiter without a search.
  private readonly waiting = new Set<PermitWaiter>();
  private runningCount = 0;
  private isDispatching = false;

  constructor(readonly policy: ConcurrencyPolicy) {}

  /** Number of permits in use. */
  get running(): number {
    return this.runningCount;
  }

  get queued(): number {
    return this.waiting.size;
  }

  /**
   * Requests a permit. Set `isReturning` if the waiter had a permit and returned it to wait for something else; then a full queue does
   * not reject it.
   */
  acquire(waiter: PermitWaiter, isReturning = false): 'permitted' | 'queued' | 'refused' {
    // Queued waiters take precedence, also while `release` is dispatching permits.
    if (this.runningCount < this.policy.maxConcurrent && this.waiting.size === 0) {
      this.runningCount += 1;
      return 'permitted';
    }
    if (!isReturning && this.waiting.size >= this.policy.maxQueued) return 'refused';
    this.waiting.add(waiter);
    return 'queued';
  }

  /** Removes a waiter from the queue; has no effect if it is not queued. */
  remove(waiter: PermitWaiter): void {
    this.waiting.delete(waiter);
  }

  /**
   * Returns one permit with the result of the last attempt that was sent under it, and passes the permit to the next waiter. This limit is
   * fixed and ignores the result; a limit that adapts to the server would use it. Drops waiters whose deadline is not after `now`, because
   * their deadline will fail them.
   *
   * @param _latencyMs monotonic time from the start of the attempt to its end; 0 if none was sent
   */
  release(_outcome: PermitOutcome, _latencyMs: number, now = 0): void {
    this.runningCount -= 1;
    // A waiter may complete and call `release` inside `permitted`. The outer loop then continues, because recursion could overflow
    // the stack.
    if (this.isDispatching) return;
    this.isDispatching = true;
    try {
      for (const waiter of this.waiting) {
        if (this.runningCount >= this.policy.maxConcurrent) return;
        this.waiting.delete(waiter);
        if (waiter.deadline <= now) continue;
        this.runningCount += 1;
        waiter.permitted();
      }
    } finally {
      this.isDispatching = false;
    }
  }
}
