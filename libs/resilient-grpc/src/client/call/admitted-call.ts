import type { WaitEnd } from '../../call/call-telemetry.js';
import type { Waiter, WaitRefusal } from '../../call/call-transport.js';
import { StatusCode } from '../../status/status-code.js';
import type { Timer } from '../../time/clock.js';
import type { OutgoingCall } from '../interceptors/outgoing-call.js';
import { preparationFailure } from '../interceptors/preparation-failure.js';
import { deadlineFailure, limitFailure, type CallFailure } from './call-failure.js';
import { CallPermits } from './call-permits.js';
import { DeadlineTimer } from './deadline-timer.js';
import { PreparedCall } from './prepared-call.js';

/** What a call is doing. */
export type Phase = 'begun' | 'preparing' | 'waiting' | 'queued' | 'backoff' | 'running' | 'ended';

/** A call that waits to retry. */
interface Backoff {
  readonly timer: Timer;
  /** When it ends, in monotonic milliseconds. */
  readonly endsAt: number;
  /** The failure that is retried. */
  readonly failure: CallFailure;
}

const DOING: Readonly<Partial<Record<Phase, string>>> = {
  preparing: ', waiting for an interceptor',
  queued: ', queued for a permit (maxConcurrentCalls)',
  backoff: ', waiting to retry',
};

/**
 * A call on its way to an attempt: interceptors, the channel, a permit, in this order; and its deadline as long as grpc-js does
 * not keep it.
 */
export abstract class AdmittedCall extends PreparedCall implements Waiter {
  // As Waiter
  rateLimited = false;
  waitingSince = 0;

  protected phase: Phase = 'begun';
  /** It waited for the channel, and nobody was told yet how its attempt went. */
  private released = false;
  private backoff: Backoff | undefined;
  private permits: CallPermits | undefined;
  private deadlineTimer: DeadlineTimer | undefined;

  get expectsPromptResponse(): boolean {
    return !this.method.responseStream;
  }

  /** Everything is there for an attempt. */
  protected abstract attemptNow(): void;
  /** Fails the call, once. */
  abstract end(failure: CallFailure): void;

  protected askInterceptors(outgoing: OutgoingCall): void {
    let asked: Promise<void> | undefined;
    try {
      asked = this.context.parts?.hooks?.onCall(outgoing);
    } catch (error) {
      this.end(preparationFailure(error));
      return;
    }
    // What an interceptor does may end its own call.
    if (this.phase === 'ended') return;
    if (asked === undefined) {
      this.proceed();
      return;
    }
    this.phase = 'preparing';
    this.armDeadline();
    asked.then(
      () => {
        if (this.phase === 'preparing') this.proceed();
      },
      (error: unknown) => {
        this.end(preparationFailure(error));
      },
    );
  }

  /** Goes on to the next attempt. */
  protected proceed(): void {
    const { transport } = this.context.client;
    if (!transport.ready || this.rateLimited) {
      this.waitForChannel();
    } else if (transport.hearing.isDue && this.interceptors === undefined) {
      this.phase = 'begun';
      transport.hearing.whenRead(() => {
        this.proceedHeard();
      });
    } else {
      this.askPermits();
    }
  }

  /** What the peer said meanwhile has been read. */
  private proceedHeard(): void {
    if (this.phase !== 'begun') return;
    const { transport, clock } = this.context.client;
    // Sent with no time left it would be told as one that was not, and be worked on all the same.
    if (this.deadline <= clock.epoch()) this.deadlinePassed();
    else if (transport.ready) this.askPermits();
    else this.waitForChannel();
  }

  protected waitForChannel(): void {
    this.phase = 'waiting';
    // Who waits for the channel keeps nobody else from it.
    this.permits?.release();
    this.armDeadline();
    const { clock, transport } = this.context.client;
    this.waitingSince = clock.now();
    transport.wait(this);
  }

  release(): void {
    if (this.phase !== 'waiting') return;
    this.released = true;
    this.rateLimited = false;
    this.waitEnded('released');
    this.askPermits();
  }

  refuse(refusal: WaitRefusal): void {
    if (this.phase !== 'waiting') return;
    const { reason, details, retryAfterMs } = refusal;
    this.waitEnded('refused');
    // It stands in no queue any more.
    this.phase = 'begun';
    this.end({ code: StatusCode.UNAVAILABLE, details, reason, retryAfterMs });
  }

  private askPermits(): void {
    const { limits, client } = this.context;
    if (limits.length === 0) {
      this.attemptNow();
      return;
    }
    this.permits ??= new CallPermits(
      limits,
      this.deadline,
      (answer) => {
        this.permitted(answer);
      },
      () => client.clock.epoch(),
    );
    const answer = this.permits.acquire();
    if (answer !== 'queued') {
      this.permitted(answer);
      return;
    }
    this.phase = 'queued';
    this.armDeadline();
  }

  private permitted(answer: 'permitted' | 'refused'): void {
    if (this.phase === 'ended') return;
    if (answer === 'refused') this.end(limitFailure(this.context.limits));
    else if (this.context.client.transport.ready) this.attemptNow();
    else this.waitForChannel();
  }

  /** Proceeds to the next attempt after `delayMs`. */
  protected backOff(delayMs: number, failure: CallFailure): void {
    const { clock } = this.context.client;
    this.phase = 'backoff';
    this.armDeadline();
    const timer = clock.setTimer(
      () => {
        this.backoff = undefined;
        if (this.phase === 'backoff') this.proceed();
      },
      delayMs,
      true,
    );
    this.backoff = { timer, endsAt: clock.now() + delayMs, failure };
  }

  /** Fails the call with the failure that it would retry, if the retry is due at `until` (monotonic milliseconds) or later. */
  failBackoff(until: number): boolean {
    const { backoff } = this;
    if (backoff === undefined || backoff.endsAt < until) return false;
    this.end({ ...backoff.failure, because: 'draining' });
    return true;
  }

  /** The pace of those that wait follows how the first of them fare. */
  protected reportReleased(latencyMs: number | undefined): void {
    if (!this.released) return;
    this.released = false;
    this.context.client.transport.releasedCallEnded(latencyMs, this);
  }

  protected armDeadline(): void {
    if (this.deadline === Infinity) return;
    this.deadlineTimer ??= new DeadlineTimer(this.deadline, this.context.client.clock, () => {
      this.deadlinePassed();
    });
    this.deadlineTimer.arm();
  }

  protected disarmDeadline(): void {
    this.deadlineTimer?.disarm();
  }

  private deadlinePassed(): void {
    const { clock, transport } = this.context.client;
    const doing = this.phase === 'waiting' ? `, waiting: ${transport.whyNotReady()}` : DOING[this.phase];
    this.end(deadlineFailure(clock.now() - this.startedAt, doing ?? ''));
  }

  /** It has ended: whoever still has it in a queue may forget it. */
  protected leave(): void {
    const { phase } = this;
    this.phase = 'ended';
    if (phase !== 'waiting') return;
    this.context.client.transport.leave(this);
    this.waitEnded('abandoned');
  }

  private waitEnded(outcome: WaitEnd): void {
    const { clock, statistics } = this.context.client;
    statistics.waits[outcome] += 1;
    this.telemetry?.waited(outcome, clock.now() - this.waitingSince);
  }

  protected releaseWaiting(): void {
    this.disarmDeadline();
    if (this.backoff !== undefined) this.context.client.clock.clearTimer(this.backoff.timer);
    this.backoff = undefined;
    this.permits?.release();
  }
}
