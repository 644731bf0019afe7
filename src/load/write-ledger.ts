/** Compares what one caller was told about its writes with what is in the log. */
export class WriteLedger {
  private readonly appliedCount = new Set<string>();
  private readonly duplicatedCount = new Set<string>();
  private readonly acknowledgedOnly = new Set<string>();

  /** Requests that were applied more than once. */
  get duplicated(): number {
    return this.duplicatedCount.size;
  }

  /** Requests that were acknowledged and are not in the log, as far as it was read. */
  get lost(): number {
    return this.acknowledgedOnly.size;
  }

  /** The caller was told that this request succeeded. */
  acknowledge(requestId: string): void {
    if (!this.appliedCount.has(requestId)) this.acknowledgedOnly.add(requestId);
  }

  /** The log has an entry for this request. */
  applied(requestId: string): void {
    if (this.appliedCount.has(requestId)) this.duplicatedCount.add(requestId);
    this.appliedCount.add(requestId);
    this.acknowledgedOnly.delete(requestId);
  }
}
