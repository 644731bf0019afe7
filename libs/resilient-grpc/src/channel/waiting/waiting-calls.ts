import type { Waiter } from '../../call/call-transport.js';

/** Calls that wait for the channel, newest on top. Leaving costs nothing; who has left is skipped. */
export class WaitingCalls {
  private readonly stack: Waiter[] = [];
  private readonly present = new Set<Waiter>();
  private held = 0;
  private lost = 0;

  /** @param emptied told whenever the last one has left */
  constructor(private readonly emptied: () => void = () => undefined) {}

  get size(): number {
    return this.present.size;
  }

  /** Bytes of the requests held. */
  get bytes(): number {
    return this.held;
  }

  /** How long the one has waited that has waited longest; 0 where none waits. */
  oldestMs(now: number): number {
    const [oldest] = this.present;
    return oldest === undefined ? 0 : now - oldest.waitingSince;
  }

  /** Some of them were lost with a connection. */
  get anyPaced(): boolean {
    return this.lost > 0;
  }

  push(waiter: Waiter): void {
    this.stack.push(waiter);
    this.present.add(waiter);
    this.held += waiter.bytes;
    if (waiter.paced) this.lost += 1;
  }

  /** Whether it was in it. */
  remove(waiter: Waiter): boolean {
    if (!this.present.delete(waiter)) return false;
    this.held -= waiter.bytes;
    if (waiter.paced) this.lost -= 1;
    if (this.present.size === 0) this.emptied();
    // Callers who give up would otherwise be kept for as long as the outage lasts.
    if (this.stack.length > 64 && this.stack.length > 2 * this.present.size) this.compact();
    return true;
  }

  /** The newest. */
  pop(): Waiter | undefined {
    for (;;) {
      const waiter = this.stack.pop();
      if (waiter === undefined || this.remove(waiter)) return waiter;
    }
  }

  /** Takes out at most `limit` of those that `leaves` is true of, oldest first. */
  takeWhere(leaves: (waiter: Waiter) => boolean, limit: number): Waiter[] {
    const taken: Waiter[] = [];
    for (const waiter of this.present) {
      if (taken.length === limit) break;
      if (leaves(waiter)) taken.push(waiter);
    }
    for (const waiter of taken) this.remove(waiter);
    return taken;
  }

  private compact(): void {
    let kept = 0;
    for (const waiter of this.stack) {
      if (this.present.has(waiter)) this.stack[kept++] = waiter;
    }
    this.stack.length = kept;
  }
}
