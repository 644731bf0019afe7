import type { ConcurrencyPolicy } from './concurrency-policy.js';

/** Someone who waits for a permit. */
export interface PermitWaiter {
  /** Milliseconds of the clock that `PermitQueue.release` is given, or Infinity: who has no time left gets no permit. */
  readonly deadline: number;
  /** It holds a permit now, and gives it back by `release`. Never called inside `acquire`. */
  permitted(): void;
}

/**
 * Permits, and a queue for them that is first come, first served, and bounded. It sets no timer: who waits too long leaves by
 * himself, and is passed over meanwhile.
 */
export class PermitQueue {
  // A Set keeps its order, and lets any of them leave without a search.
  readonly #waiting = new Set<PermitWaiter>();
  #running = 0;
  #dispatching = false;

  constructor(readonly policy: ConcurrencyPolicy) {}

  /** Permits that are taken. */
  get running(): number {
    return this.#running;
  }

  get queued(): number {
    return this.#waiting.size;
  }

  /**
   * Asks for a permit. `returning`: it had one, gave it back while it waited for something else, and is not refused now for
   * the length of the queue.
   */
  acquire(waiter: PermitWaiter, returning = false): 'permitted' | 'queued' | 'refused' {
    // Who waits already comes first, also while permits are just being handed on.
    if (this.#running < this.policy.maxConcurrent && this.#waiting.size === 0) {
      this.#running += 1;
      return 'permitted';
    }
    if (!returning && this.#waiting.size >= this.policy.maxQueued) return 'refused';
    this.#waiting.add(waiter);
    return 'queued';
  }

  /** Takes a waiter out of the queue; harmless when it is no longer in it. */
  leave(waiter: PermitWaiter): void {
    this.#waiting.delete(waiter);
  }

  /**
   * Gives one permit back, and hands it on. Waiters whose deadline is within `spareMs` of `now` (less than an answer usually
   * takes) are dropped: their deadline ends them, and others need the permit more.
   */
  release(now = 0, spareMs = 0): void {
    this.#running -= 1;
    // Whoever is permitted may run to its end and give back inside `permitted`: the loop goes on, where recursion would run
    // out of stack.
    if (this.#dispatching) return;
    this.#dispatching = true;
    try {
      for (const waiter of this.#waiting) {
        if (this.#running >= this.policy.maxConcurrent) return;
        this.#waiting.delete(waiter);
        if (waiter.deadline - now <= spareMs) continue;
        this.#running += 1;
        waiter.permitted();
      }
    } finally {
      this.#dispatching = false;
    }
  }
}
