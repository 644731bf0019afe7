import type { Waiter } from '../../call/call-transport.js';
import type { Clock, Timer } from '../../time/clock.js';

/** True if `waiter` is a call; false if it is the client's `waitForReady()`, which is not counted as a call. */
export function isCall(waiter: Pick<Waiter, 'path'>): boolean {
  return waiter.path !== undefined;
}

/**
 * Queue of the calls that are waiting for the channel, oldest first, and of the client's `waitForReady()`. It keeps the process running
 * while it is not empty, as grpc-js's own queue does.
 */
export class WaitingCalls implements Iterable<Waiter> {
  private readonly present = new Set<Waiter>();
  /** Bytes of the waiting requests. */
  bytes = 0;
  /** Number of waiting calls, without `waitForReady()`. */
  calls = 0;
  private readonly withoutLimit = new Set<Waiter>();
  private keepAlive: Timer | undefined;

  constructor(private readonly clock: Clock) {}

  /** Number of waiters: waiting calls, and `waitForReady()` of the client. */
  get size(): number {
    return this.present.size;
  }

  [Symbol.iterator](): Iterator<Waiter> {
    return this.present.values();
  }

  /** Waiting time of the oldest call in milliseconds; 0 if no call is waiting. */
  oldestMs(now: number): number {
    for (const waiter of this.present) if (isCall(waiter)) return now - waiter.waitingSince;
    return 0;
  }

  /** Waiting calls that need not be sent at a limited rate (`Waiter.rateLimited`), oldest first. */
  get unlimited(): ReadonlySet<Waiter> {
    return this.withoutLimit;
  }

  push(waiter: Waiter): void {
    this.keepAlive ??= this.clock.setTimer(() => undefined, Infinity, true);
    this.present.add(waiter);
    this.bytes += waiter.bytes;
    if (isCall(waiter)) this.calls += 1;
    if (!waiter.rateLimited) this.withoutLimit.add(waiter);
  }

  /** Removes `waiter` from the queue. Returns true if it was queued. */
  remove(waiter: Waiter): boolean {
    if (!this.present.delete(waiter)) return false;
    this.bytes -= waiter.bytes;
    if (isCall(waiter)) this.calls -= 1;
    this.withoutLimit.delete(waiter);
    if (this.present.size === 0) {
      this.keepAlive?.clear();
      this.keepAlive = undefined;
    }
    return true;
  }

  /** Removes and returns at most `limit` of the waiters for which `isTaken` is true, oldest first. */
  takeWhere(isTaken: (waiter: Waiter) => boolean, limit: number): Waiter[] {
    const taken: Waiter[] = [];
    for (const waiter of this.present) {
      if (taken.length === limit) break;
      if (isTaken(waiter)) taken.push(waiter);
    }
    for (const waiter of taken) this.remove(waiter);
    return taken;
  }
}
