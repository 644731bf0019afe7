import type { Metadata } from '@grpc/grpc-js';
import type { Attempt, AttemptEnd, AttemptListener, AttemptRequest, StartAttempt } from '../../call/attempt.js';
import { StatusCode } from '../../status/status-code.js';
import type { Clock, Timer } from '../../time/clock.js';
import { StagedAttempt } from './staged-attempt.js';

/**
 * Bounds each attempt in time: until its end where the method answers once, until the first sign of an answer where it answers
 * with a stream. The standard has none (gRFC A44 says why); without one a call spends its deadline on one slow server.
 */
export function withAttemptTimeout(start: StartAttempt, timeoutMs: number, clock: Clock): StartAttempt {
  return (request, listener) => new TimedAttempt(start, request, listener, timeoutMs, clock);
}

class TimedAttempt extends StagedAttempt {
  protected override readonly inner: Attempt;
  private timer: Timer | undefined;

  constructor(
    start: StartAttempt,
    request: AttemptRequest,
    listener: AttemptListener,
    timeoutMs: number,
    private readonly clock: Clock,
  ) {
    super(request, listener);
    this.inner = start(request, this);
    this.timer = clock.setTimer(() => {
      this.timer = undefined;
      this.inner.cancel(
        'attempt-timeout',
        StatusCode.DEADLINE_EXCEEDED,
        `Attempt timed out after ${String(timeoutMs)} ms`,
      );
    }, timeoutMs);
  }

  override abandon(because?: 'deadline'): void {
    this.stop();
    super.abandon(because);
  }

  override onHeaders(headers: Metadata): void {
    if (this.request.method.responseStream) this.stop();
    super.onHeaders(headers);
  }

  override onEnd(end: AttemptEnd): void {
    this.stop();
    super.onEnd(end);
  }

  private stop(): void {
    if (this.timer !== undefined) this.clock.clearTimer(this.timer);
    this.timer = undefined;
  }
}
