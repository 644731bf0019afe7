/** Something that holds memory of a budget, and can give some of it back. */
export interface Holder {
  readonly heldBytes: number;
  /** Frees the largest part of what it holds, soon. */
  shed(details: string): void;
}

/**
 * Bounds the memory that the connections of a process hold together for streams, header lists, unread messages, and unsent messages. Above
 * the bound, the connection that holds most loses the stream that holds most, so that a flood does not cost the calls of others.
 */
export class MemoryBudget {
  usedBytes = 0;
  private readonly holders = new Set<Holder>();

  /** @param maxBytes bound of all connections together */
  constructor(private readonly maxBytes: number) {}

  join(holder: Holder): void {
    this.holders.add(holder);
  }

  /** What the holder still holds is free. */
  leave(holder: Holder): void {
    if (this.holders.delete(holder)) this.usedBytes -= holder.heldBytes;
  }

  /** A holder holds `bytes` more; fewer if it is negative. */
  add(bytes: number): void {
    this.usedBytes += bytes;
    if (bytes > 0) this.relieve();
  }

  get isExceeded(): boolean {
    return this.usedBytes > this.maxBytes;
  }

  /** Has the largest holder shed something if the bound is exceeded. */
  relieve(): void {
    if (!this.isExceeded) return;
    let largest: Holder | undefined;
    for (const holder of this.holders)
      if (largest === undefined || holder.heldBytes > largest.heldBytes) largest = holder;
    largest?.shed(`the connections of this process hold more than ${String(this.maxBytes)} bytes`);
  }
}
