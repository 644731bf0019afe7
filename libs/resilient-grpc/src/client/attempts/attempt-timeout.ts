import type { Metadata } from '@grpc/grpc-js';
import type { Attempt, AttemptListener, AttemptRequest, StartAttempt } from '../../call/attempt.js';
import { remainingMs, formatGrpcTimeout } from '../../policy/deadline/deadline.js';
import { StatusCode } from '../../status/status-code.js';
import type { Clock } from '../../time/clock.js';
import { PeerTimer } from '../../time/peer-timer.js';
import { DeadlineTimer } from '../call/deadline-timer.js';
import { StagedAttempt } from './staged-attempt.js';

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
  /** Timer for the attempt timeout; `undefined` until the attempt has been started. */
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

  override onHeaders(headers: Metadata): void {
    if (this.request.method.responseStream) this.timer?.clear();
    super.onHeaders(headers);
  }

  protected override stop(): void {
    this.timer?.clear();
    this.deadline?.clear();
  }
}

/**
 * True if the timeout must also be sent to the server: it ends before the call's deadline, and the call is a plain unary call. A response
 * stream outlives the timeout, a request stream waits for this process, and grpc-js's interceptors may read and change the deadline.
 */
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
