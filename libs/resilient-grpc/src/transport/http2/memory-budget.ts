/** A connection that holds memory of a budget. */
export interface Holder {
  readonly heldBytes: number;
  /** Number of calls that it has answered. */
  readonly answered: number;
  /** Bytes of the streams that it has begun from the reserve. */
  readonly reservedBytes: number;
  /** Ends a stream that was begun from the reserve, for one of a connection that has less of it. */
  giveBack(details: string): void;
  /** Ends what holds buffers, the largest first, until the budget is relieved. */
  shed(details: string, what: Shed): void;
}

/** 'stalled': streams whose client does not go on with them. 'connection': one that holds buffers without a stream. */
export type Shed = 'stalled' | 'streams' | 'connection';

/** Share by which more must be held before the next search if one has found too little. */
const SEARCH_STEP = 1 / 64;

const ORDER: readonly Shed[] = ['stalled', 'streams', 'connection'];

/** Share of the budget above which new streams are refused, so that what has begun can go on. */
const REFUSED_ABOVE = 3 / 4;
/** Share down to which streams are ended, so that the search for them is rare. */
const RELIEVED_BELOW = 7 / 8;
/** Share that requests may take which handlers have got: they are let go when their handlers end, and by nothing else. */
const DELIVERED = 1 / 2;
/** Share above which one response per stream waits for its client. */
const AMPLE = 1 / 2;
/** Bytes that connections may take beside the budget, as a share of it. What they take above that counts. */
const CONNECTIONS = 1 / 2;
/** Share above which messages are received one at a time per connection. */
const ROOM = 1 / 4;

/**
 * Bounds the memory that the connections of a process hold together: what their streams and calls take in V8's heap, header lists, and
 * unread, incomplete, and unsent messages. Close to the bound, new streams are refused, except that each connection has a small part of the
 * rest, so that nobody can lock out others. At the bound, streams are ended whose clients do not go on with them, then others, first on
 * connections that hold much for each call that they have answered.
 */
export class MemoryBudget {
  usedBytes = 0;
  private reservedBytes = 0;
  private deliveredBytes = 0;
  private connectionBytes = 0;
  private countedBytes = 0;
  /** Bytes below which there is nothing to find. */
  private searchAbove = 0;
  private readonly holders = new Set<Holder>();
  /** Number of connections with open streams. */
  private busy = 0;

  /**
   * @param maxBytes bound of all connections together
   * @param heapFactor bytes for which a byte in V8's heap counts, because the heap may have a lower bound
   */
  constructor(
    public maxBytes: number,
    readonly heapFactor = 1,
  ) {}

  join(holder: Holder): void {
    this.holders.add(holder);
  }

  /** Nothing more of the holder can be shed. */
  leave(holder: Holder): void {
    this.holders.delete(holder);
  }

  /** A connection takes `bytes` apart from its calls, until `disconnect()`. Returns false if there is no room for it. */
  connect(bytes: number): boolean {
    if (this.connectionBytes + bytes > CONNECTIONS * this.maxBytes && !this.admits(bytes)) return false;
    this.addConnection(bytes);
    return true;
  }

  disconnect(bytes: number): void {
    this.addConnection(-bytes);
  }

  private addConnection(bytes: number): void {
    this.connectionBytes += bytes;
    const counted = Math.max(this.connectionBytes - CONNECTIONS * this.maxBytes, 0);
    this.add(counted - this.countedBytes);
    this.countedBytes = counted;
  }

  /** A connection has its first open stream (1), or none any more (−1). */
  addBusy(change: 1 | -1): void {
    this.busy += change;
  }

  /** A connection holds `bytes` more; fewer if it is negative. */
  add(bytes: number): void {
    this.usedBytes += bytes;
  }

  get isExceeded(): boolean {
    return this.usedBytes > this.maxBytes;
  }

  /** True if enough is free again. */
  get isRelieved(): boolean {
    return this.usedBytes <= RELIEVED_BELOW * this.maxBytes;
  }

  /** True if a stream of `bytes` may begin on any connection. */
  admits(bytes: number): boolean {
    return this.usedBytes + bytes <= REFUSED_ABOVE * this.maxBytes;
  }

  /** Lets a stream of `bytes` begin nevertheless if `holder` has not used up its share of the reserve. */
  takeReserve(holder: Holder, bytes: number): boolean {
    const reserve = (1 - REFUSED_ABOVE) * this.maxBytes;
    if (holder.reservedBytes + bytes > this.shareOf(reserve)) return false;
    if (this.reservedBytes + bytes > reserve) {
      // Those that came earlier had larger shares.
      let largest = holder;
      for (const other of this.holders) if (other.reservedBytes > largest.reservedBytes) largest = other;
      if (largest !== holder) largest.giveBack(this.details);
      if (this.reservedBytes + bytes > reserve) return false;
    }
    // Handlers of calls that have ended may still run.
    if (this.usedBytes + bytes > this.maxBytes) return false;
    this.reservedBytes += bytes;
    return true;
  }

  freeReserve(bytes: number): void {
    this.reservedBytes -= bytes;
  }

  /** Counts a request of `bytes` that a handler gets, until `freeDelivered()`. Returns false if there is no room for it. */
  deliver(bytes: number): boolean {
    // One of any size.
    if (this.deliveredBytes > 0 && this.deliveredBytes + bytes > DELIVERED * this.maxBytes) return false;
    this.deliveredBytes += bytes;
    this.add(bytes);
    return true;
  }

  freeDelivered(bytes: number): void {
    this.deliveredBytes -= bytes;
    this.add(-bytes);
  }

  private get details(): string {
    return `the connections of this process hold more than ${String(Math.round(this.maxBytes))} bytes`;
  }

  /** True if so much is free that senders may be ahead of their clients. */
  get isAmple(): boolean {
    return this.usedBytes <= AMPLE * this.maxBytes;
  }

  /** True if the messages of a connection that has buffered `bytes` need not wait for each other. */
  hasRoom(bytes: number): boolean {
    const room = ROOM * this.maxBytes;
    return this.usedBytes <= room || bytes <= this.shareOf(room);
  }

  private shareOf(bytes: number): number {
    return bytes / Math.max(this.busy, 1);
  }

  /** Has connections end streams if the bound is exceeded. */
  relieve(): void {
    if (!this.isExceeded) this.searchAbove = 0;
    if (!this.isExceeded || this.usedBytes < this.searchAbove) return;
    const { details } = this;
    const worstFirst = [...this.holders].sort((a, b) => bytesPerAnswer(b) - bytesPerAnswer(a));
    for (const what of ORDER)
      for (const holder of worstFirst) {
        if (this.isRelieved) return;
        holder.shed(details, what);
      }
    if (this.usedBytes > this.maxBytes) this.searchAbove = this.usedBytes + SEARCH_STEP * this.maxBytes;
  }
}

function bytesPerAnswer({ heldBytes, answered }: Holder): number {
  return heldBytes / (answered + 1);
}
