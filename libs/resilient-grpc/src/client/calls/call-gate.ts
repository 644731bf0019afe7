import type { WaitEnd } from '../../call/call-telemetry.js';
import type { ReleasedCallResult, Waiter, WaitRefusal } from '../../call/call-transport.js';
import { measuredOutcome } from '../../policy/balancing/least-request.js';
import { permitOutcome, type PermitOutcome } from '../../policy/concurrency/adaptive-limit.js';
import type { PermitQueue, PermitWaiter } from '../../policy/concurrency/permit-queue.js';
import type { Verdict } from '../../policy/evidence/classify.js';
import { StatusCode } from '../../status/status-code.js';
import type { Timer } from '../../time/clock.js';
import type { MethodContext } from '../call-context.js';
import { deadlineFailure, limitFailure, preparationFailure, type CallFailure } from '../attempts/call-failure.js';
import { DeadlineTimer } from '../attempts/deadline-timer.js';
import type { CallReport } from './call-report.js';
import type { PreparedCall } from './prepare-call.js';

/** What starts the attempts of a call. */
export interface Admitted {
  /** Reason why no part of the running attempt has been sent; `undefined` if no attempt is running, or if a part may have been sent. */
  readonly unsentBecause: string | undefined;
  /** Called when the call may send its next attempt. */
  admitted(): void;
}

export interface HeldCall {
  /** Runs `work` in the context in which the call was made. Callbacks of timers and connections may run in another context. */
  inContext<T>(work: () => T): T;
  /** Called when the call must not continue. */
  end(failure: CallFailure): void;
}

/**
 * Reason why a call is held. 'open': not held. 'interceptors': an interceptor's promise is pending. 'pending-data': data is being read
 * after an idle period. 'channel': the channel has not released the call. 'permit': a concurrency limit is reached. 'backoff': a retry is
 * delayed. 'closed': the call has ended.
 */
type Hold = 'open' | 'interceptors' | 'pending-data' | 'channel' | 'permit' | 'backoff' | 'closed';

const HOLD_DETAILS: Readonly<Partial<Record<Hold, string>>> = {
  interceptors: ', waiting for an interceptor',
  permit: ', queued for a permit (maxConcurrentCalls)',
  backoff: ', waiting to retry',
};

/**
 * Holds one call while it must not send an attempt: for interceptors, pending data, the channel, permits, and the delay before a retry.
 * Enforces the call's deadline while the transport does not. A call without interceptors, a metadata function, or limits gets a gate only
 * if the call must be held.
 */
export class CallGate implements Waiter, PermitWaiter {
  /** True if the next attempt is queued even while the channel is ready. */
  rateLimited = false;
  waitingSince = 0;
  private hold: Hold = 'open';
  /** True if the channel released the call, and the result of the call has not been reported to the channel. */
  private released = false;
  private backoff: Timer | undefined;
  /** End of the latest backoff, in monotonic milliseconds. */
  backoffEndsAt = -Infinity;
  /** Number of permits held. They belong to the first entries of `context.limits`. */
  private permits = 0;
  /** Result of the last attempt sent under the permits. The limits receive it when the permits are released. */
  private outcome: PermitOutcome = 'not-sent';
  private latencyMs = 0;
  private queuedFor: PermitQueue | undefined;
  private hadPermits = false;
  private deadlineTimer: DeadlineTimer | undefined;

  constructor(
    private readonly context: MethodContext,
    private readonly prepared: PreparedCall,
    private readonly call: HeldCall,
    private readonly report: CallReport,
    private readonly runner: Admitted,
  ) {}

  get waitForReady(): boolean | undefined {
    return this.prepared.waitForReady;
  }

  get deadline(): number {
    return this.prepared.deadline;
  }

  get bytes(): number {
    return this.prepared.bytes;
  }

  get expectsPromptResponse(): boolean {
    return !this.context.method.responseStream;
  }

  get path(): string {
    return this.context.method.path;
  }

  get isWaiting(): boolean {
    return this.hold === 'channel';
  }

  // ── reasons to hold a call, in this order ──

  /** Holds the call until the interceptors have completed, then until an attempt may be sent. */
  holdForInterceptors(completed: Promise<void>): void {
    this.hold = 'interceptors';
    this.enforceDeadline();
    completed.then(
      () => {
        if (this.hold === 'interceptors') this.pass();
      },
      (error: unknown) => {
        this.call.end(preparationFailure(error));
      },
    );
  }

  /** Holds the call until an attempt may be sent. */
  pass(): void {
    const { transport } = this.context.client;
    this.hold = 'open';
    if (!transport.ready || this.rateLimited) {
      this.holdForChannel();
    } else if (transport.readBarrier.isDue && this.prepared.interceptors === undefined) {
      this.hold = 'pending-data';
      transport.readBarrier.whenRead(() => {
        this.onDataRead();
      });
    } else {
      this.acquirePermits();
    }
  }

  private onDataRead(): void {
    if (this.hold !== 'pending-data') return;
    const { transport, clock } = this.context.client;
    // The deadline may have passed while the data was being read. An attempt that starts after its deadline is not sent, but it is reported
    // as a failed attempt in the error, the events, and the telemetry of the call.
    if (this.deadline <= clock.epoch()) this.deadlinePassed();
    else if (transport.ready) this.acquirePermits();
    else this.holdForChannel();
  }

  holdForChannel(): void {
    this.hold = 'channel';
    // A call that waits for the channel must not block other calls.
    this.releasePermits();
    // The call that received the released permit may have ended this call.
    if (this.isWaiting) this.waitForChannel();
  }

  /** Holds the call for a free stream. It keeps its permits, because other attempts of it may be in flight. */
  holdForStream(): void {
    // The wait that ended before is no evidence about the server.
    this.reportReleased('cancelled');
    this.hold = 'channel';
    this.waitForChannel();
  }

  private waitForChannel(): void {
    this.enforceDeadline();
    const { clock, transport } = this.context.client;
    this.waitingSince = clock.now();
    transport.wait(this);
  }

  release(): void {
    if (this.hold !== 'channel') return;
    // The deadline timer may be late, or the wall clock was set forward.
    if (this.deadline <= this.context.client.clock.epoch()) {
      this.deadlinePassed();
      return;
    }
    this.released = true;
    this.rateLimited = false;
    this.endWait('released');
    this.acquirePermits();
  }

  refuse({ reason, details, remedy, retryAfterMs }: WaitRefusal): void {
    if (this.hold !== 'channel') return;
    this.endWait('refused');
    this.call.end({ code: StatusCode.UNAVAILABLE, details, remedy, reason, retryAfterMs });
  }

  private endWait(outcome: WaitEnd): void {
    this.hold = 'open';
    this.report.waited(outcome, this.context.client.clock.now() - this.waitingSince);
  }

  private acquirePermits(): void {
    const { limits } = this.context;
    this.hold = 'open';
    for (const limit of limits.slice(this.permits)) {
      const answer = limit.acquire(this, this.hadPermits);
      if (answer === 'refused') {
        this.call.end(limitFailure(limit));
        return;
      }
      if (answer === 'queued') {
        this.queuedFor = limit;
        this.hold = 'permit';
        this.enforceDeadline();
        return;
      }
      this.permits += 1;
    }
    this.hadPermits = true;
    if (this.context.client.transport.ready) {
      this.call.inContext(() => {
        this.runner.admitted();
      });
    } else this.holdForChannel();
  }

  permitted(): void {
    this.queuedFor = undefined;
    this.permits += 1;
    // The deadline timer may be late, or the wall clock was set forward. Ending the call releases the permit.
    if (this.deadline <= this.context.client.clock.epoch()) {
      this.deadlinePassed();
      return;
    }
    // A call that the limit of its method admitted may still be rejected by the client's limit.
    this.acquirePermits();
  }

  /** Holds the call for `delayMs`, then until its next attempt may be sent. */
  holdForBackoff(delayMs: number): void {
    const { clock } = this.context.client;
    this.hold = 'backoff';
    this.enforceDeadline();
    this.backoffEndsAt = clock.now() + delayMs;
    this.backoff = clock.setTimer(
      () => {
        if (this.hold === 'backoff') this.pass();
      },
      delayMs,
      true,
    );
  }

  // ── while an attempt runs ──

  attemptEnded(outcome: PermitOutcome, latencyMs: number): void {
    if (outcome === 'not-sent') return;
    this.outcome = outcome;
    this.latencyMs = latencyMs;
  }

  /**
   * Records the failure of the attempt that decides the call. `sent` is its verdict without what is known of a key; `undefined` if the attempt
   * was not sent.
   */
  attemptFailed(verdict: Verdict, sent: Verdict | undefined, latencyMs: number): void {
    this.attemptEnded(permitOutcome(verdict), latencyMs);
    // A status that the application chose is an answer, which shows how fast the server is.
    const isAnswer = sent !== undefined && measuredOutcome(sent) === 'succeeded';
    this.reportReleased(isAnswer ? latencyMs : sent === undefined ? 'cancelled' : 'failed');
  }

  /** Records that the call ends while an attempt is running, of which a part may have been sent. */
  attemptInterrupted(latencyMs: number, because: 'deadline' | undefined): void {
    const isDeadline = because === 'deadline';
    this.attemptEnded(isDeadline ? 'timed-out' : 'cancelled', latencyMs);
    this.reportReleased(isDeadline ? 'failed' : 'cancelled');
  }

  /** Reports the result of a call that the channel released. The pace of later releases depends on it. */
  reportReleased(result: ReleasedCallResult): void {
    if (!this.released) return;
    this.released = false;
    this.context.client.transport.releasedCallEnded(result, this);
  }

  /** Enforces the deadline until `relaxDeadline()` or `close()` is called. */
  enforceDeadline(): void {
    if (this.deadline === Infinity) return;
    this.deadlineTimer ??= new DeadlineTimer(this.deadline, this.context.client.clock, () => {
      this.deadlinePassed();
    });
  }

  relaxDeadline(): void {
    this.deadlineTimer?.clear();
    this.deadlineTimer = undefined;
  }

  private deadlinePassed(): void {
    const { clock, transport } = this.context.client;
    const waitsForChannel = this.hold === 'channel';
    const { unsentBecause } = this.runner;
    const ofAttempt = unsentBecause === undefined ? '' : `, ${unsentBecause}`;
    const heldFor = waitsForChannel ? `, waiting: ${transport.whyNotReady()}` : (HOLD_DETAILS[this.hold] ?? ofAttempt);
    const remedy = waitsForChannel ? transport.remedy : undefined;
    this.call.end({ ...deadlineFailure(clock.now() - this.prepared.startedAt, heldFor), remedy });
  }

  // ── the end of the call ──

  /** Closes the gate. Removes the call from the channel's queue if it is queued. */
  dequeue(): void {
    const wasWaiting = this.hold === 'channel';
    this.hold = 'closed';
    if (!wasWaiting) return;
    const { client } = this.context;
    client.transport.dequeue(this);
    this.report.waited('abandoned', client.clock.now() - this.waitingSince);
  }

  /** Clears the timers of the call and releases its permits. */
  close(): void {
    this.hold = 'closed';
    this.relaxDeadline();
    this.backoff?.clear();
    this.releasePermits();
  }

  private releasePermits(): void {
    this.queuedFor?.remove(this);
    this.queuedFor = undefined;
    const { outcome, latencyMs } = this;
    this.outcome = 'not-sent';
    this.latencyMs = 0;
    while (this.permits > 0) {
      // Decremented first, because `release` runs the next waiter synchronously.
      this.permits -= 1;
      this.context.limits[this.permits]?.release(outcome, latencyMs);
    }
  }
}
