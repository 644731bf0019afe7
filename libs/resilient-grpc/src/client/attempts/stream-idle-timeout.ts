import type { Attempt, AttemptListener, AttemptRequest, StartAttempt } from '../../call/attempt.js';
import { StatusCode } from '../../status/status-code.js';
import type { Clock } from '../../time/clock.js';
import { PeerTimer } from '../../time/peer-timer.js';
import { StagedAttempt } from './staged-attempt.js';

/**
 * Bounds the time that the client waits for a message of a response stream, including the wait for headers. A frozen server never ends the
 * stream, and neither does a server whose connection was silently dropped. A slow reader does not count against the server.
 */
export function withStreamIdleTimeout(start: StartAttempt, timeoutMs: number, clock: Clock): StartAttempt {
  return (request, listener) => new StreamIdleTimeoutAttempt(start, request, listener, timeoutMs, clock);
}

class StreamIdleTimeoutAttempt extends StagedAttempt {
  protected override readonly inner: Attempt;
  /** Time at which the wait for a message started, in monotonic milliseconds; `undefined` if no message is awaited. */
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
    // The timer keeps running and checks again when it fires, so that a message needs no new timer.
    this.silentSince = undefined;
    super.onMessage(message);
  }

  private arm(ms: number): void {
    this.timer ??= new PeerTimer(this.clock, ms, this.check);
  }

  private readonly check = (): void => {
    const excludedMs = this.timer?.excludedMs ?? 0;
    this.timer = undefined;
    // Excludes time during which this process was paused while the timer was running. The start of the wait is moved forward, but not past
    // the current time, because the pause may have been before the wait.
    if (this.silentSince !== undefined) this.silentSince = Math.min(this.silentSince + excludedMs, this.clock.now());
    const leftMs = this.leftMs();
    if (leftMs > 0) {
      if (leftMs !== Infinity) this.arm(leftMs);
      return;
    }
    const details = `No message for ${String(this.timeoutMs)} ms (streamIdleTimeoutMs)`;
    this.inner.cancel('stream-idle', StatusCode.UNAVAILABLE, details);
  };

  /** Time left in milliseconds; `Infinity` while no message is awaited. */
  private leftMs(): number {
    return this.silentSince === undefined ? Infinity : this.silentSince + this.timeoutMs - this.clock.now();
  }

  protected override stop(): void {
    this.timer?.clear();
  }
}
