import type { Metadata } from '@grpc/grpc-js';
import type { Attempt, AttemptEnd, AttemptListener, AttemptRequest, StartAttempt } from '../../call/attempt.js';
import { CircuitOpenError } from '../../errors/circuit-open-error.js';
import { attemptOutcome, byCode } from '../../policy/circuit-breaker/attempt-outcome.js';
import type { CircuitBreaker } from '../../policy/circuit-breaker/circuit-breaker.js';
import type { CircuitToken } from '../../policy/circuit-breaker/circuit-state.js';
import { classify } from '../../policy/evidence/classify.js';
import { StatusCode } from '../../status/status-code.js';
import type { Clock } from '../../time/clock.js';
import { StagedAttempt } from './staged-attempt.js';

/** Lets attempts through while the circuit of their method is closed. @throws CircuitOpenError (from the stage) while it is open */
export function withCircuitBreaker(start: StartAttempt, breaker: CircuitBreaker, clock: Clock): StartAttempt {
  return (request, listener) => {
    const admission = breaker.tryAcquire(clock.now());
    if (!admission.admitted) throw new CircuitOpenError(request.method.path, admission.retryAfterMs);
    return new GuardedAttempt(start, request, listener, breaker, admission.token, clock);
  };
}

class GuardedAttempt extends StagedAttempt {
  protected override readonly inner: Attempt;
  private told = false;

  constructor(
    start: StartAttempt,
    request: AttemptRequest,
    listener: AttemptListener,
    private readonly breaker: CircuitBreaker,
    private readonly token: CircuitToken,
    private readonly clock: Clock,
  ) {
    super(request, listener);
    try {
      this.inner = start(request, this);
    } catch (error) {
      this.tell('ignored', '');
      throw error;
    }
  }

  override abandon(because?: 'deadline'): void {
    // Who leaves says nothing of the server; who was let down by it does.
    this.tell(because === 'deadline' ? byCode(StatusCode.DEADLINE_EXCEEDED, this.breaker.policy) : 'ignored', '');
    super.abandon(because);
  }

  override onHeaders(headers: Metadata): void {
    // A stream may last for ever, and would keep a circuit half open so long.
    if (this.request.method.responseStream) this.tell('success', '');
    super.onHeaders(headers);
  }

  override onEnd(end: AttemptEnd): void {
    const verdict = classify(end);
    this.tell(attemptOutcome(verdict, this.breaker.policy), verdict.connectionLost ? end.connectionKey : '');
    super.onEnd(end);
  }

  private tell(outcome: ReturnType<typeof attemptOutcome>, connectionKey: string): void {
    if (this.told) return;
    this.told = true;
    this.breaker.onResult(this.token, outcome, this.clock.now(), connectionKey);
  }
}
