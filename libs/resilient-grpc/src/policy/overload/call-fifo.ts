/** An entry of a {@link CallFifo}. */
export interface FifoEntry {
  /** Expected work of the call, in the unit of its queue. */
  weight: number;
  /** True if the entry was removed and must be skipped. */
  isRemoved: boolean;
}

/** Consumed entries are dropped in chunks of at least this size, because shifting each one would copy the whole array. */
const CHUNK = 1_024;

/** A first-in, first-out queue with removal from the middle. Maintains the number and the total weight of its entries. */
export class CallFifo<T extends FifoEntry> {
  private entries: (T | undefined)[] = [];
  private head = 0;
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
    this.entries.push(entry);
    this.count += 1;
    this.total += entry.weight;
  }

  /** Returns the oldest entry. */
  peek(): T | undefined {
    for (; this.head < this.entries.length; this.head++) {
      const entry = this.entries[this.head];
      if (entry !== undefined && !entry.isRemoved) return entry;
      this.entries[this.head] = undefined;
    }
    this.entries = [];
    this.head = 0;
    return undefined;
  }

  /** Removes and returns the oldest entry. */
  shift(): T | undefined {
    const entry = this.peek();
    if (entry === undefined) return undefined;
    this.entries[this.head] = undefined;
    this.head += 1;
    // `peek` may have moved the head past the end of a chunk.
    if (this.head >= CHUNK) {
      this.entries.splice(0, this.head);
      this.head = 0;
    }
    this.subtract(entry);
    return entry;
  }

  /** Iterates over the entries, oldest first. Entries may be removed during the iteration. */
  *[Symbol.iterator](): IterableIterator<T> {
    for (let index = this.head; index < this.entries.length; index++) {
      const entry = this.entries[index];
      if (entry !== undefined && !entry.isRemoved) yield entry;
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
    entry.isRemoved = true;
    this.subtract(entry);
  }

  private subtract(entry: T): void {
    this.count -= 1;
    // Reset to 0 when the queue is empty, because rounding errors would otherwise accumulate.
    this.total = this.count === 0 ? 0 : this.total - entry.weight;
  }
}
