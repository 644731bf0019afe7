/** An entry of a {@link CallFifo}. */
export interface FifoEntry<T> {
  /** Expected work of the call, in the unit of its queue. */
  weight: number;
  /** True if the entry is no longer in the queue. The queue sets this flag, `previous`, and `next`. */
  isRemoved: boolean;
  previous: T | undefined;
  next: T | undefined;
}

/**
 * A first-in, first-out queue with removal from the middle. Maintains the number and the total weight of its entries. A linked list, so
 * that the queue retains neither removed calls nor their requests.
 */
export class CallFifo<T extends FifoEntry<T>> {
  private first: T | undefined;
  private last: T | undefined;
  private count = 0;
  private total = 0;

  get size(): number {
    return this.count;
  }

  /** Sum of the weights. */
  get weight(): number {
    return this.total;
  }

  push(entry: T): void {
    const { last } = this;
    entry.previous = last;
    if (last === undefined) this.first = entry;
    else last.next = entry;
    this.last = entry;
    this.count += 1;
    this.total += entry.weight;
  }

  /** Returns the oldest entry. */
  peek(): T | undefined {
    return this.first;
  }

  /** Removes and returns the oldest entry. */
  shift(): T | undefined {
    const { first } = this;
    if (first !== undefined) this.remove(first);
    return first;
  }

  /** Iterates over the entries, oldest first. The current entry may be removed during the iteration. */
  *[Symbol.iterator](): IterableIterator<T> {
    let entry = this.first;
    while (entry !== undefined) {
      const { next } = entry;
      yield entry;
      entry = next;
    }
  }

  /** Calls `change` to set the weight of each entry, and recomputes the total. */
  reweigh(change: (entry: T) => void): void {
    this.total = 0;
    for (const entry of this) {
      change(entry);
      this.total += entry.weight;
    }
  }

  /** Removes an entry that is in the queue. */
  remove(entry: T): void {
    const { previous, next } = entry;
    if (previous === undefined) this.first = next;
    else previous.next = next;
    if (next === undefined) this.last = previous;
    else next.previous = previous;
    entry.previous = entry.next = undefined;
    entry.isRemoved = true;
    this.count -= 1;
    // Reset to 0 when the queue is empty, because rounding errors would otherwise accumulate.
    this.total = this.count === 0 ? 0 : this.total - entry.weight;
  }
}
