import type { PermitQueue, PermitWaiter } from '../../policy/concurrency/permit-queue.js';

/** The permits that one call needs while it has an attempt: its method's, then the client's. */
export class CallPermits implements PermitWaiter {
  private held = 0;
  private waitingFor: PermitQueue | undefined;
  private had = false;

  /** @param deadline milliseconds since 1970, or Infinity */
  constructor(
    private readonly limits: readonly PermitQueue[],
    readonly deadline: number,
    private readonly decided: (answer: 'permitted' | 'refused') => void,
    private readonly epoch: () => number,
  ) {}

  /** Requests the permits that are missing. 'queued': `decided` is called later. */
  acquire(): 'permitted' | 'queued' | 'refused' {
    for (const limit of this.limits.slice(this.held)) {
      const answer = limit.acquire(this, this.had);
      if (answer !== 'permitted') {
        if (answer === 'queued') this.waitingFor = limit;
        return answer;
      }
      this.held += 1;
    }
    this.had = true;
    return 'permitted';
  }

  permitted(): void {
    this.waitingFor = undefined;
    this.held += 1;
    // A call that its method's limit admitted may still be rejected by the client's.
    const answer = this.acquire();
    if (answer !== 'queued') this.decided(answer);
  }

  /** Releases its permits and its place in the queue. */
  release(): void {
    this.waitingFor?.leave(this);
    this.waitingFor = undefined;
    while (this.held > 0) {
      // Decremented first, because `release` runs the next waiter synchronously.
      this.held -= 1;
      this.limits[this.held]?.release(this.epoch());
    }
  }
}
