/** The figures of a session. */
export interface SessionFigures {
  readonly sessionMessages: number;
  /** Number of messages that were never applied. */
  readonly sessionLost: number;
  /** Number of messages that were applied more than once. */
  readonly sessionRepeated: number;
}

/** Compares the messages created for a session with the order log. */
export class SessionLedger {
  private readonly appliedMessages = new Set<number>();
  private readonly repeated = new Set<number>();

  /** Records that the log contains an order from this message. */
  applied(message: number): void {
    if (this.appliedMessages.has(message)) this.repeated.add(message);
    this.appliedMessages.add(message);
  }

  /** Returns the figures of the first `made` messages. */
  figures(made: number): SessionFigures {
    return {
      sessionMessages: made,
      sessionLost: made - this.appliedMessages.size,
      sessionRepeated: this.repeated.size,
    };
  }
}
