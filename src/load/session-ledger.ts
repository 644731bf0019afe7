/** What became of the messages of a session. */
export interface SessionFigures {
  readonly sessionMessages: number;
  /** Messages that were never applied. */
  readonly sessionLost: number;
  /** Messages that were applied more than once. */
  readonly sessionRepeated: number;
}

/** Compares the messages that were made for a session with those that are in the log. */
export class SessionLedger {
  private readonly appliedCount = new Set<number>();
  private readonly repeated = new Set<number>();

  /** The log has an order made by this message. */
  applied(message: number): void {
    if (this.appliedCount.has(message)) this.repeated.add(message);
    this.appliedCount.add(message);
  }

  /** Of the first `made` messages. */
  figures(made: number): SessionFigures {
    return { sessionMessages: made, sessionLost: made - this.appliedCount.size, sessionRepeated: this.repeated.size };
  }
}
