import { ADAPTIVE_BOUNDS, AdaptiveLimit, type PermitOutcome } from './adaptive-limit.js';

export interface ConcurrencyPolicy {
  /** Maximum number of concurrent calls, 1 or more; 'adaptive' for a limit that follows latency. */
  readonly maxConcurrent: number | 'adaptive';
  /** Maximum number of queued calls; 0 rejects a call immediately if all permits are taken. */
  readonly maxQueued: number;
}

/** The option `maxConcurrentCalls`: the limit alone, or with the maximum number of queued calls. */
export type MaxConcurrentCalls =
  number | 'adaptive' | { readonly max: number | 'adaptive'; readonly queue?: number | undefined };

export const DEFAULT_MAX_QUEUED = 1_000;

export function concurrencyPolicy(limit: MaxConcurrentCalls | false | undefined): ConcurrencyPolicy | undefined {
  if (limit === undefined || limit === false) return undefined;
  const { max, queue = DEFAULT_MAX_QUEUED } = typeof limit === 'object' ? limit : { max: limit };
  return { maxConcurrent: max, maxQueued: queue };
}

/** Factor by which an adaptive limit must change to be reported. */
const NOTABLE_CHANGE = 2;

/** Change of an adaptive concurrency limit. Latencies are means. */
export interface LimitChange {
  readonly from: number;
  readonly to: number;
  readonly latencyMs: number | undefined;
  readonly unloadedLatencyMs: number | undefined;
  /** True if more than 10% of the calls in the last measurement timed out or were refused. */
  readonly overloaded: boolean;
}

export interface PermitWaiter {
  /** Called when the waiter receives a permit, which it must return with `release`. Never called inside `acquire`. */
  permitted(): void;
}

/** Permits with a bounded FIFO queue. The queue sets no timers: a waiter that times out must be removed with `remove`. */
export class PermitQueue {
  // A Set keeps insertion order and removes any waiter without a search.
  private readonly waiting = new Set<PermitWaiter>();
  running = 0;
  private isDispatching = false;
  readonly adaptive: AdaptiveLimit | undefined;
  private reportedLimit = ADAPTIVE_BOUNDS.initial;

  constructor(
    readonly policy: ConcurrencyPolicy,
    /** Called when an adaptive limit has doubled or halved since the last report. */
    private readonly limitChanged?: (change: LimitChange) => void,
  ) {
    this.adaptive = policy.maxConcurrent === 'adaptive' ? new AdaptiveLimit() : undefined;
  }

  get maxConcurrent(): number {
    const { maxConcurrent } = this.policy;
    return maxConcurrent === 'adaptive' ? (this.adaptive?.current ?? 0) : maxConcurrent;
  }

  get queued(): number {
    return this.waiting.size;
  }

  /**
   * Requests a permit. Set `isReturning` if the waiter had a permit and returned it to wait for something else. A full queue then does not
   * reject the waiter.
   */
  acquire(waiter: PermitWaiter, isReturning = false): 'permitted' | 'queued' | 'refused' {
    // Queued waiters take precedence, even while `release` is dispatching permits.
    if (this.running < this.maxConcurrent && this.waiting.size === 0) {
      this.running += 1;
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
   * Releases one permit with the result of the last attempt that was sent under it, and passes free permits to the next waiters. Only an
   * adaptive limit uses the result.
   *
   * @param latencyMs monotonic time from the start of the attempt to its end; 0 if none was sent
   */
  release(outcome: PermitOutcome, latencyMs: number): void {
    if (this.adaptive !== undefined) this.adapt(this.adaptive, outcome, latencyMs);
    this.running -= 1;
    // A waiter may complete and call `release` inside `permitted`. The outer loop then continues, because recursion could overflow
    // the stack.
    if (this.isDispatching) return;
    this.isDispatching = true;
    try {
      for (const waiter of this.waiting) {
        if (this.running >= this.maxConcurrent) return;
        this.waiting.delete(waiter);
        this.running += 1;
        waiter.permitted();
      }
    } finally {
      this.isDispatching = false;
    }
  }

  private adapt(limit: AdaptiveLimit, outcome: PermitOutcome, latencyMs: number): void {
    limit.record(latencyMs, this.running, outcome);
    const { settled: to } = limit;
    const from = this.reportedLimit;
    if (to > from / NOTABLE_CHANGE && to < from * NOTABLE_CHANGE) return;
    this.reportedLimit = to;
    const { latencyMs: measuredMs, unloadedLatencyMs, isOverloaded: overloaded } = limit;
    this.limitChanged?.({ from, to, latencyMs: measuredMs, unloadedLatencyMs, overloaded });
  }
}
