import type { Metadata } from '@grpc/grpc-js';
import type { Attempt, AttemptEnd, AttemptListener, AttemptRequest, StartAttempt } from '../call/attempt.js';
import { StatusCode } from '../status/status-code.js';
import type { Clock, Timer } from '../time/clock.js';

/**
 * Bounds each attempt in time: until its end where the method answers once, until the first sign of an answer where it answers
 * with a stream. The standard has none (gRFC A44 says why); without one a call spends its deadline on one slow server.
 */
export function withAttemptTimeout(start: StartAttempt, timeoutMs: number, clock: Clock): StartAttempt {
  return (request, listener) => new TimedAttempt(start, request, listener, timeoutMs, clock);
}

class TimedAttempt implements Attempt, AttemptListener {
  private readonly inner: Attempt;
  private timer: Timer | undefined;

  constructor(
    start: StartAttempt,
    private readonly request: AttemptRequest,
    private readonly listener: AttemptListener,
    timeoutMs: number,
    private readonly clock: Clock,
  ) {
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

  get peer(): string | undefined {
    return this.inner.peer;
  }

  startRead(): void {
    this.inner.startRead();
  }

  send(message: unknown, written?: () => void): void {
    this.inner.send(message, written);
  }

  halfClose(): void {
    this.inner.halfClose();
  }

  cancel(why: AttemptEnd['endedHere'], code: number, details: string): void {
    this.inner.cancel(why, code, details);
  }

  abandon(because?: 'deadline'): void {
    this.stop();
    this.inner.abandon(because);
  }

  onHeaders(headers: Metadata): void {
    if (this.request.method.responseStream) this.stop();
    this.listener.onHeaders(headers);
  }

  onMessage(message: unknown): void {
    this.listener.onMessage(message);
  }

  onEnd(end: AttemptEnd): void {
    this.stop();
    this.listener.onEnd(end);
  }

  private stop(): void {
    if (this.timer !== undefined) this.clock.clearTimer(this.timer);
    this.timer = undefined;
  }
}
