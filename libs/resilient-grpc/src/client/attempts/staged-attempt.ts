import type {
  Attempt,
  AttemptEnd,
  AttemptListener,
  AttemptRequest,
  ResponseHeaders,
  StartAttempt,
} from '../../call/attempt.js';
import { remainingMs, formatGrpcTimeout } from '../../policy/deadline/deadline.js';
import { StatusCode } from '../../status/status-code.js';
import type { Clock } from '../../time/clock.js';
import { PeerTimer } from '../../time/peer-timer.js';
import { DeadlineTimer } from './deadline-timer.js';
import { CircuitOpenError } from '../../errors/operator-errors.js';
import {
  attemptOutcome,
  outcomeOfDeadline,
  type CircuitToken,
  type CircuitBreakerCore,
} from '../../policy/circuit-breaker/circuit-breaker.js';
import { classify, type LostConnection } from '../../policy/evidence/classify.js';
import { lostConnection } from './attempt-history.js';

/**
 * Base class of a stage between an attempt and its listener. Forwards every operation and event; a stage overrides those that it changes.
 */
abstract class StagedAttempt implements Attempt, AttemptListener {
  protected abstract readonly inner: Attempt;

  constructor(
    protected readonly request: AttemptRequest,
    private readonly listener: AttemptListener,
  ) {}

  get peer(): string | undefined {
    return this.inner.peer;
  }

  get authContext(): Attempt['authContext'] {
    return this.inner.authContext;
  }

  get unsentBecause(): string | undefined {
    return this.inner.unsentBecause;
  }

  get obstacle(): Attempt['obstacle'] {
    return this.inner.obstacle;
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

  onHeaders(headers: ResponseHeaders): void {
    this.listener.onHeaders(headers);
  }

  onMessage(message: unknown): void {
    this.listener.onMessage(message);
  }

  onEnd(end: AttemptEnd): void {
    this.stop();
    this.listener.onEnd(end);
  }

  protected stop(): void {
    // A stage without timers has nothing to stop.
  }
}

const TIMEOUT_KEY = 'grpc-timeout';

/**
 * Limits how long each attempt may take: for a unary response, until the attempt ends; for a response stream, until its headers arrive.
 * gRPC has no such timeout (gRFC A44 explains why). Without an attempt timeout, one slow server can use up the whole deadline of a call. A
 * timeout counts against the server, so it excludes time during which this process did not run.
 */
export function withAttemptTimeout(start: StartAttempt, timeoutMs: number, clock: Clock): StartAttempt {
  return (request, listener) => new AttemptTimeoutAttempt(start, request, listener, timeoutMs, clock);
}

class AttemptTimeoutAttempt extends StagedAttempt {
  protected override readonly inner: Attempt;
  private readonly timer: PeerTimer | undefined;
  /** Timer for the call's deadline; `undefined` if there is no deadline, or if the transport enforces it. */
  private readonly deadline: DeadlineTimer | undefined;

  constructor(
    start: StartAttempt,
    request: AttemptRequest,
    listener: AttemptListener,
    timeoutMs: number,
    clock: Clock,
  ) {
    super(request, listener);
    const startedAt = clock.now();
    const details = `Attempt timed out after ${String(timeoutMs)} ms (attemptTimeoutMs)`;
    const sent = shouldSendTimeout(request, timeoutMs, clock) ? formatGrpcTimeout(timeoutMs) : undefined;
    this.inner = start(sent === undefined ? request : withTimeout(request, sent, { ms: timeoutMs, details }), this);
    this.timer = new PeerTimer(clock, timeoutMs, () => {
      this.inner.cancel('attempt-timeout', StatusCode.DEADLINE_EXCEEDED, details);
    });
    if (sent === undefined || request.deadline === Infinity) return;
    this.deadline = new DeadlineTimer(request.deadline, clock, () => {
      const seconds = ((clock.now() - startedAt) / 1_000).toFixed(3);
      this.inner.cancel('deadline', StatusCode.DEADLINE_EXCEEDED, `Deadline exceeded after ${seconds}s`);
    });
  }

  override onHeaders(headers: ResponseHeaders): void {
    if (this.request.method.responseStream) this.timer?.clear();
    super.onHeaders(headers);
  }

  protected override stop(): void {
    this.timer?.clear();
    this.deadline?.clear();
  }
}

/** True if the timeout must also be sent to the server: it ends before the call's deadline, and the call is a plain unary call. */
function shouldSendTimeout(
  { method, interceptors, deadline }: AttemptRequest,
  timeoutMs: number,
  clock: Clock,
): boolean {
  if (method.requestStream || method.responseStream || interceptors !== undefined) return false;
  return timeoutMs < remainingMs(deadline, clock.epoch());
}

/**
 * Returns `request` with a `grpc-timeout` header and without a deadline, because the transport would overwrite the header with the time
 * left until the deadline. Setting an earlier deadline would count the time when this process did not run.
 */
function withTimeout(
  request: AttemptRequest,
  timeout: string,
  sentTimeout: AttemptRequest['sentTimeout'],
): AttemptRequest {
  const metadata = request.metadata.clone();
  metadata.set(TIMEOUT_KEY, timeout);
  return { ...request, deadline: Infinity, metadata, sentTimeout };
}

/**
 * Bounds the time that the client waits for a message of a response stream, including the wait for headers. A frozen server never ends the
 * stream, and neither does a server whose connection was silently dropped.
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
  /** Monotonic time in milliseconds, one event-loop turn after the start, when the request has been sent. */
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

  override onHeaders(headers: ResponseHeaders): void {
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
