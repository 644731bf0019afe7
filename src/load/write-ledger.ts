/** Compares the acknowledged writes of one contender with the log. */
export class WriteLedger {
  private readonly appliedCount = new Set<string>();
  private readonly duplicatedCount = new Set<string>();
  private readonly acknowledgedOnly = new Set<string>();

  /** Number of requests that were applied more than once. */
  get duplicated(): number {
    return this.duplicatedCount.size;
  }

  /** Number of acknowledged requests that are not in the log, as far as it was read. */
  get lost(): number {
    return this.acknowledgedOnly.size;
  }

  /** Records that this request succeeded. */
  acknowledge(requestId: string): void {
    if (!this.appliedCount.has(requestId)) this.acknowledgedOnly.add(requestId);
  }

  /** Records that the log contains an entry for this request. */
  applied(requestId: string): void {
    if (this.appliedCount.has(requestId)) this.duplicatedCount.add(requestId);
    this.appliedCount.add(requestId);
    this.acknowledgedOnly.delete(requestId);
  }
}
