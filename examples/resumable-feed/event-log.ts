import type { OrderEvent } from '../gen/orders.js';

/** Keeps events in order. Yours is a table; `read` is `select … where sequence > $1 order by sequence limit 100`. */
export class EventLog {
  readonly #events: OrderEvent[] = [];
  #last = 0n;

  append(item: string): void {
    this.#last += 1n; // unique, and growing in the order in which events become visible to readers
    const sequence = String(this.#last);
    this.#events.push({ sequence, order: { id: sequence, requestId: '', item, quantity: 1, sequence } });
  }

  /** Forgets all events up to `sequence`. */
  trim(sequence: bigint): void {
    while (this.#events[0] !== undefined && BigInt(this.#events[0].sequence) <= sequence) this.#events.shift();
  }

  /** The last sequence that is no longer kept. */
  async trimmed(): Promise<bigint> {
    return BigInt(this.#events[0]?.sequence ?? this.#last + 1n) - 1n;
  }

  async read(after: bigint): Promise<readonly OrderEvent[]> {
    return this.#events.filter(({ sequence }) => BigInt(sequence) > after).slice(0, 100);
  }
}
