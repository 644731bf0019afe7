/** Compares the acknowledged writes of one contender with the log. */
export class WriteLedger {
  private readonly appliedIds = new Set<string>();
  private readonly duplicatedIds = new Set<string>();
  private readonly acknowledgedOnly = new Set<string>();

  /** Number of requests that were applied more than once. */
  get duplicated(): number {
    return this.duplicatedIds.size;
  }

  /** Number of acknowledged requests missing from the log entries read so far. */
  get lost(): number {
    return this.acknowledgedOnly.size;
  }

  /** Records that this request succeeded. */
  acknowledge(requestId: string): void {
    if (!this.appliedIds.has(requestId)) this.acknowledgedOnly.add(requestId);
  }

  /** Records that the log contains an entry for this request. */
  applied(requestId: string): void {
    if (this.appliedIds.has(requestId)) this.duplicatedIds.add(requestId);
    this.appliedIds.add(requestId);
    this.acknowledgedOnly.delete(requestId);
  }
}
