/** An order in the log. */
export interface LoggedOrder {
  readonly sequence: string;
  /** Append time of the order, from `epochMs()`. */
  readonly atMs: number;
}

/** The figures of a feed. */
export interface FeedFigures {
  /** Number of events delivered for the first time. */
  readonly events: number;
  /** Number of events in the log, after the starting cursor, that were never delivered. */
  readonly lostEvents: number;
  /** Number of repeated deliveries. */
  readonly repeatedEvents: number;
  /** Number of events whose first delivery followed that of a later event. */
  readonly outOfOrder: number;
  /** Longest time that the reader waited for a new event while one was in the log, in milliseconds. */
  readonly longestGapMs: number;
}

/** A wait of the reader for the event that follows `after`. */
interface Wait {
  readonly after: bigint;
  readonly sinceMs: number;
  readonly untilMs: number;
}

/** Compares the events delivered to a reader with the log. All times are passed in and come from one clock. */
export class FeedLedger {
  private readonly from: bigint;
  private readonly acceptedSequences = new Set<string>();
  private readonly waits: Wait[] = [];
  private highestNumber: bigint;
  private waitingSinceMs: number;
  private repeated = 0;
  private outOfOrder = 0;

  /** Creates a ledger for a reader that starts after the cursor `from` and has waited for the first event since `atMs`. */
  constructor(from: string, atMs: number) {
    this.from = BigInt(from);
    this.highestNumber = this.from;
    this.waitingSinceMs = atMs;
  }

  /** The highest sequence delivered; the starting cursor if no event was delivered. */
  get highest(): bigint {
    return this.highestNumber;
  }

  /** Records the delivery of an event. Returns false if it was delivered before. */
  accept(sequence: string, atMs: number): boolean {
    if (this.acceptedSequences.has(sequence)) {
      this.repeated += 1;
      return false;
    }
    this.acceptedSequences.add(sequence);
    const place = BigInt(sequence);
    if (place < this.highestNumber) {
      this.outOfOrder += 1;
      return true;
    }
    this.waits.push({ after: this.highestNumber, sinceMs: this.waitingSinceMs, untilMs: atMs });
    this.highestNumber = place;
    this.waitingSinceMs = atMs;
    return true;
  }

  /** Records that the reader has handled a new event and waits for the next one. */
  startWait(atMs: number): void {
    this.waitingSinceMs = atMs;
  }

  /** Returns the figures up to `atMs`. `log` must contain at least all orders after the cursor. */
  figures(log: readonly LoggedOrder[], atMs: number): FeedFigures {
    const appendedAtMs = new Map(log.map((order) => [order.sequence, order.atMs]));
    let lostEvents = 0;
    for (const { sequence } of log)
      if (BigInt(sequence) > this.from && !this.acceptedSequences.has(sequence)) lostEvents += 1;
    let longestGapMs = 0;
    const last: Wait = { after: this.highestNumber, sinceMs: this.waitingSinceMs, untilMs: atMs };
    for (const { after, sinceMs, untilMs } of [...this.waits, last]) {
      const thereSinceMs = appendedAtMs.get(String(after + 1n));
      if (thereSinceMs !== undefined) longestGapMs = Math.max(longestGapMs, untilMs - Math.max(sinceMs, thereSinceMs));
    }
    return {
      events: this.acceptedSequences.size,
      lostEvents,
      repeatedEvents: this.repeated,
      outOfOrder: this.outOfOrder,
      longestGapMs,
    };
  }
}
