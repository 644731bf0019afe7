import type { Metadata } from '@grpc/grpc-js';
import type { Attempt, AttemptEnd, AttemptListener, AttemptRequest, StartAttempt } from '../../call/attempt.js';
import { CircuitOpenError } from '../../errors/operator-errors.js';
import {
  attemptOutcome,
  outcomeOfDeadline,
  type CircuitToken,
  type CircuitBreakerCore,
} from '../../policy/circuit-breaker/circuit-breaker.js';
import { classify, type LostConnection } from '../../policy/evidence/classify.js';
import type { Clock } from '../../time/clock.js';
import { lostConnection } from '../call/attempt-history.js';
import { StagedAttempt } from './staged-attempt.js';

/**
 * Admits all attempts while the circuit of their method is closed, and one probe at a time while it is half-open.
 * @throws CircuitOpenError when an attempt starts, if the circuit rejects it
 */
export function withCircuitBreaker(start: StartAttempt, breaker: CircuitBreakerCore, clock: Clock): StartAttempt {
  return (request, listener) => {
    const now = clock.now();
    const admission = breaker.tryAcquire(now);
    if (!admission.admitted) throw new CircuitOpenError(request.method.path, admission.retryAfterMs);
    return new CircuitBreakerAttempt(start, request, listener, breaker, admission.token, clock, now);
  };
}

class CircuitBreakerAttempt extends StagedAttempt {
  protected override readonly inner: Attempt;
  private recorded = false;
  /**
   * Monotonic time in milliseconds, one event-loop turn after the start, when the request has been sent. `Infinity` before that time, or if
   * there can be no deadline.
   */
  private sentAt = Infinity;

  constructor(
    start: StartAttempt,
    request: AttemptRequest,
    listener: AttemptListener,
    private readonly breaker: CircuitBreakerCore,
    private readonly token: CircuitToken,
    private readonly clock: Clock,
    private readonly startedAt: number,
  ) {
    super(request, listener);
    // Only a deadline needs this time. A grpc-js interceptor may set a deadline later.
    if (request.deadline !== Infinity || request.interceptors !== undefined) {
      clock.defer(() => {
        this.sentAt = clock.now();
      });
    }
    try {
      this.inner = start(request, this);
    } catch (error) {
      this.record('ignored');
      throw error;
    }
  }

  override abandon(because?: 'deadline'): void {
    // A cancellation is no evidence about the server. An expired deadline is evidence only if the attempt was sent and this process was
    // not paused.
    const counts = because === 'deadline' && !this.wasPaused && this.unsentBecause === undefined;
    this.record(counts ? outcomeOfDeadline(this.breaker.policy) : 'ignored', undefined);
    super.abandon(because);
  }

  override onHeaders(headers: Metadata): void {
    // Records a success once a response stream has headers. The stream may never end, which would keep the circuit half-open.
    if (this.request.method.responseStream) this.record('success');
    super.onHeaders(headers);
  }

  override onEnd(end: AttemptEnd): void {
    const verdict = classify(end);
    if (end.unsentBecause !== undefined || (verdict.kind === 'deadline' && this.wasPaused)) this.record('ignored');
    else
      this.record(
        attemptOutcome(verdict, this.breaker.policy),
        verdict.connectionLost ? lostConnection(end, verdict) : undefined,
      );
    super.onEnd(end);
  }

  /**
   * True if this process was paused for more than half of the attempt. The request was then sent late, or the deadline was detected late
   * and the response may be unread. Shorter delays are usual when the process is busy during an outage, and must not keep the circuit
   * closed.
   */
  private get wasPaused(): boolean {
    const now = this.clock.now();
    const lateMs = Math.max(this.clock.epoch() - this.request.deadline, 0);
    const ownMs = Math.min(this.sentAt, now) - this.startedAt + lateMs;
    return ownMs > (now - this.startedAt) / 2;
  }

  private record(outcome: ReturnType<typeof attemptOutcome>, lostWith?: LostConnection): void {
    if (this.recorded) return;
    this.recorded = true;
    this.breaker.onResult(this.token, outcome, this.clock.now(), lostWith);
  }
}
