/** An order that was appended. */
export interface LoggedOrder {
  readonly sequence: string;
  /** By the clock of the reader. */
  readonly atMs: number;
}

/** What became of the events of a feed. */
export interface FeedFigures {
  /** Events handed over for the first time. */
  readonly events: number;
  /** Events in the log that were never handed over. */
  readonly lostEvents: number;
  /** How often an event was handed over that had been before. */
  readonly repeatedEvents: number;
  /** Events handed over for the first time after a later one. */
  readonly outOfOrder: number;
  /**
   * Longest time in which the reader waited for an event that was in the log, in milliseconds: from the moment it wanted one and
   * there was one, until it had one that it had not had before.
   */
  readonly longestGapMs: number;
}

/** A wait of the reader for what comes after the event `after`. */
interface Wait {
  readonly after: bigint;
  readonly sinceMs: number;
  readonly untilMs: number;
}

/** Compares what a reader of the log was handed with what is in it. All instants are given, by one clock. */
export class FeedLedger {
  private readonly from: bigint;
  private readonly handedOverCount = new Set<string>();
  private readonly waits: Wait[] = [];
  private highestNumber: bigint;
  private waitingSinceMs: number;
  private repeated = 0;
  private outOfOrder = 0;

  /** A reader of what comes after the cursor `from`, who wants the first event at `atMs`. */
  constructor(from: string, atMs: number) {
    this.from = BigInt(from);
    this.highestNumber = this.from;
    this.waitingSinceMs = atMs;
  }

  /** The last sequence that was handed over, in the order of the log. */
  get highest(): bigint {
    return this.highestNumber;
  }

  /** The reader is handed the event of this sequence. False: it has had it before. */
  handedOver(sequence: string, atMs: number): boolean {
    if (this.handedOverCount.has(sequence)) {
      this.repeated += 1;
      return false;
    }
    this.handedOverCount.add(sequence);
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

  /** The reader, who was busy with a new event, wants the next one. */
  wantsNext(atMs: number): void {
    this.waitingSinceMs = atMs;
  }

  /** Compared with `log`, which holds at least all that came after the cursor, until `atMs`. */
  figures(log: readonly LoggedOrder[], atMs: number): FeedFigures {
    const appendedAtMs = new Map(log.map((order) => [order.sequence, order.atMs]));
    let lostEvents = 0;
    for (const { sequence } of log)
      if (BigInt(sequence) > this.from && !this.handedOverCount.has(sequence)) lostEvents += 1;
    let longestGapMs = 0;
    const last: Wait = { after: this.highestNumber, sinceMs: this.waitingSinceMs, untilMs: atMs };
    for (const { after, sinceMs, untilMs } of [...this.waits, last]) {
      const thereSinceMs = appendedAtMs.get(String(after + 1n));
      if (thereSinceMs !== undefined) longestGapMs = Math.max(longestGapMs, untilMs - Math.max(sinceMs, thereSinceMs));
    }
    return {
      events: this.handedOverCount.size,
      lostEvents,
      repeatedEvents: this.repeated,
      outOfOrder: this.outOfOrder,
      longestGapMs,
    };
  }
}
