import type { Clock } from '../time/clock.js';
import type { ActiveCall, DrainReport } from './resilient-grpc-client.js';

/** A call as the registry holds it. */
export interface RegisteredCall {
  describe(): ActiveCall;
  /** Ends it now, on both sides, whatever the transport does. */
  terminate(reason: 'draining' | 'closed', details: string): void;
}

type Accepting = 'yes' | 'draining' | 'closed';

/** Every call of a client that has not ended, and what is counted of those that have. */
export class CallRegistry {
  private readonly calls = new Set<RegisteredCall>();
  private emptied: (() => void) | undefined;
  private draining: Promise<DrainReport> | undefined;
  accepting: Accepting = 'yes';
  started = 0;
  succeeded = 0;
  failed = 0;
  /** Ended by the caller. */
  cancelled = 0;
  retried = 0;

  get size(): number {
    return this.calls.size;
  }

  add(call: RegisteredCall): void {
    this.started += 1;
    this.calls.add(call);
  }

  delete(call: RegisteredCall): void {
    this.calls.delete(call);
    if (this.emptied !== undefined && this.calls.size === 0) this.emptied();
  }

  list(): ActiveCall[] {
    return [...this.calls].map((call) => call.describe());
  }

  /** Takes no more calls, lets those that run end within `timeoutMs`, and cuts off the rest. The second caller gets the first's report. */
  drain(timeoutMs: number, clock: Clock): Promise<DrainReport> {
    this.draining ??= this.drainOnce(timeoutMs, clock);
    return this.draining;
  }

  /** Ends all now. */
  close(): void {
    this.accepting = 'closed';
    this.terminateAll('closed', 'The client was closed');
  }

  private async drainOnce(timeoutMs: number, clock: Clock): Promise<DrainReport> {
    const beganAt = clock.now();
    const running = this.calls.size;
    if (this.accepting === 'yes') this.accepting = 'draining';
    await this.empty(timeoutMs, clock);
    const cancelled = this.calls.size;
    this.terminateAll('draining', `The client was shut down: the call did not finish within ${String(timeoutMs)} ms`);
    return { finished: running - cancelled, completed: 0, cancelled, durationMs: clock.now() - beganAt };
  }

  private empty(timeoutMs: number, clock: Clock): Promise<void> {
    if (this.calls.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = clock.setTimer(resolve, timeoutMs, true);
      this.emptied = () => {
        clock.clearTimer(timer);
        resolve();
      };
    });
  }

  private terminateAll(reason: 'draining' | 'closed', details: string): void {
    for (const call of [...this.calls]) call.terminate(reason, details);
  }
}
