import type { Metadata } from '@grpc/grpc-js';
import type { Attempt, AttemptEnd, AttemptListener, AttemptRequest, StartAttempt } from '../../call/attempt.js';
import { StatusCode } from '../../status/status-code.js';
import type { Clock } from '../../time/clock.js';
import { PeerTimer } from '../../time/peer-timer.js';
import { StagedAttempt } from './staged-attempt.js';

/**
 * Bounds each attempt in time: until its end where the method answers once, until the first sign of an answer where it answers
 * with a stream. The standard has none (gRFC A44 says why); without one a call spends its deadline on one slow server. A timeout
 * counts against the server, so time in which this process did not run is not part of it.
 */
export function withAttemptTimeout(start: StartAttempt, timeoutMs: number, clock: Clock): StartAttempt {
  return (request, listener) => new TimedAttempt(start, request, listener, timeoutMs, clock);
}

class TimedAttempt extends StagedAttempt {
  protected override readonly inner: Attempt;
  /** `undefined` until the attempt has been started. */
  private readonly timer: PeerTimer | undefined;

  constructor(
    start: StartAttempt,
    request: AttemptRequest,
    listener: AttemptListener,
    timeoutMs: number,
    clock: Clock,
  ) {
    super(request, listener);
    this.inner = start(request, this);
    this.timer = new PeerTimer(clock, timeoutMs, () => {
      this.inner.cancel(
        'attempt-timeout',
        StatusCode.DEADLINE_EXCEEDED,
        `Attempt timed out after ${String(timeoutMs)} ms`,
      );
    });
  }

  override abandon(because?: 'deadline'): void {
    this.timer?.clear();
    super.abandon(because);
  }

  override onHeaders(headers: Metadata): void {
    if (this.request.method.responseStream) this.timer?.clear();
    super.onHeaders(headers);
  }

  override onEnd(end: AttemptEnd): void {
    this.timer?.clear();
    super.onEnd(end);
  }
}
