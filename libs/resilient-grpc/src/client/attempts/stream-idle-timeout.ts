import type { Attempt, AttemptEnd, AttemptListener, AttemptRequest, StartAttempt } from '../../call/attempt.js';
import { StatusCode } from '../../status/status-code.js';
import type { Clock } from '../../time/clock.js';
import { PeerTimer } from '../../time/peer-timer.js';
import { StagedAttempt } from './staged-attempt.js';

/**
 * Bounds the silence of a response stream, headers included, while its reader wants a message: a server that is frozen, or behind a
 * connection that was dropped in silence, ends no stream by itself. A reader who is slow is not held against the server.
 */
export function withStreamIdleTimeout(start: StartAttempt, timeoutMs: number, clock: Clock): StartAttempt {
  return (request, listener) => new IdleTimedAttempt(start, request, listener, timeoutMs, clock);
}

class IdleTimedAttempt extends StagedAttempt {
  protected override readonly inner: Attempt;
  /** Since when a message is awaited, in monotonic milliseconds; undefined: none is. */
  private silentSince: number | undefined;
  private timer: PeerTimer | undefined;

  constructor(
    start: StartAttempt,
    request: AttemptRequest,
    listener: AttemptListener,
    private readonly timeoutMs: number,
    private readonly clock: Clock,
  ) {
    super(request, listener);
    this.inner = start(request, this);
  }

  override startRead(): void {
    this.silentSince ??= this.clock.now();
    this.arm(this.timeoutMs);
    super.startRead();
  }

  override onMessage(message: unknown): void {
    // The timer stays: it looks again when it fires, so that a message costs no timer.
    this.silentSince = undefined;
    super.onMessage(message);
  }

  override abandon(because?: 'deadline'): void {
    this.stop();
    super.abandon(because);
  }

  override onEnd(end: AttemptEnd): void {
    this.stop();
    super.onEnd(end);
  }

  private arm(ms: number): void {
    this.timer ??= new PeerTimer(this.clock, ms, this.look);
  }

  private readonly look = (): void => {
    const excusedMs = this.timer?.excusedMs ?? 0;
    this.timer = undefined;
    // The standstill may have been after the last message, when the timer had run for a while.
    if (this.silentSince !== undefined) this.silentSince = Math.min(this.silentSince + excusedMs, this.clock.now());
    const leftMs = this.leftMs();
    if (leftMs > 0) {
      if (leftMs !== Infinity) this.arm(leftMs);
      return;
    }
    const details = `No message for ${String(this.timeoutMs)} ms (streamIdleTimeoutMs)`;
    this.inner.cancel('stream-idle', StatusCode.UNAVAILABLE, details);
  };

  /** Of the silence that is allowed; Infinity while no message is awaited. */
  private leftMs(): number {
    return this.silentSince === undefined ? Infinity : this.silentSince + this.timeoutMs - this.clock.now();
  }

  private stop(): void {
    this.timer?.clear();
    this.timer = undefined;
    this.silentSince = undefined;
  }
}
