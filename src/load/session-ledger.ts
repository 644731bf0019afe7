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
  readonly #applied = new Set<number>();
  readonly #repeated = new Set<number>();

  /** The log has an order made by this message. */
  applied(message: number): void {
    if (this.#applied.has(message)) this.#repeated.add(message);
    this.#applied.add(message);
  }

  /** Of the first `made` messages. */
  figures(made: number): SessionFigures {
    return { sessionMessages: made, sessionLost: made - this.#applied.size, sessionRepeated: this.#repeated.size };
  }
}
