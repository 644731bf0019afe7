import type { Observable } from 'rxjs';
import { ReplayError, type ReplayFailureReason } from '../errors/stream-errors.js';
import { NO_PUSHBACK } from '../policy/pushback/parse-pushback.js';
import type { EndedCall } from '../policy/resume/decide-resume.js';
import { describeData } from '../policy/options/describe-value.js';
import { StatusCode } from '../status/status-code.js';
import type { Timer } from '../time/clock.js';
import { PeerTimer } from '../time/peer-timer.js';
import type { CallFailed, CallSequence, SequenceSettings, StreamOperator } from './call-sequence.js';
import {
  messageCount,
  ReplayOutgoing,
  type OutgoingCallbacks,
  type OutgoingRules,
  type ReplayId,
} from './replay-outgoing.js';
import type { SourceInput } from './replay-source.js';

/** Options of `replayUnacknowledged` with defaults applied. */
export interface ReplaySettings<Out, In, Id extends ReplayId> extends SequenceSettings, OutgoingRules<Out, Id> {
  readonly factory: (outgoing: AsyncIterable<Out>) => Observable<In>;
  readonly outgoing: SourceInput<Out>;
  readonly acknowledges: (message: In) => Id | undefined;
  readonly onError: ((error: unknown) => EndedCall['requested']) | undefined;
  /** Infinity means no timeout. */
  readonly acknowledgmentTimeoutMs: number;
}

// Maximum wait for outstanding acknowledgments after a call has reached `maxAgeMs`.
const MAX_RETIREMENT_MS = 1_000;

/**
 * Runs one session over several consecutive calls. `ReplayOutgoing` sends; this class receives messages and acknowledgments and detects
 * broken calls.
 */
export class ReplaySession<Out, In, Id extends ReplayId> implements StreamOperator<In>, OutgoingCallbacks {
  readonly name = 'replayUnacknowledged';
  hasProgressed = false;

  private readonly outgoing: ReplayOutgoing<Out, Id>;
  /** True if the current call has received a message. */
  private hasReceived = false;
  /** Number of messages that were sent on the last call and not acknowledged. */
  private awaited = 0;
  /** True if the server ended the last call cleanly. */
  private wasEnded = false;
  /** True once a shutdown has started; no further call is started. */
  private isShuttingDown = false;
  /** Error of the last call. */
  private lastError: unknown;
  /** True if the current call has reached `maxAgeMs`; nothing more is sent on it. */
  private isRetiring = false;
  private retirement: Timer | undefined;
  /** Timeout after which the current call counts as broken. */
  private ackTimer: PeerTimer | undefined;

  constructor(
    private readonly settings: ReplaySettings<Out, In, Id>,
    private readonly calls: CallSequence<In>,
  ) {
    this.outgoing = new ReplayOutgoing(settings.outgoing, settings, this);
  }

  // ── outgoing callbacks ──

  onSent(): void {
    if (this.ackTimer === undefined) this.awaitAcknowledgment();
  }

  onSourceEnd(): void {
    if (!this.calls.isRunning && this.wasEnded && this.outgoing.isSettled) this.calls.succeed();
  }

  onOutgoingError(error: unknown): void {
    this.calls.fail(error);
  }

  // ── calls ──

  createCall(attempt: number): Observable<In> | undefined {
    if (attempt === 1) this.outgoing.open();
    // An Observable source may already have failed.
    if (this.calls.isOver) return undefined;
    this.hasProgressed = false;
    this.hasReceived = false;
    this.wasEnded = false;
    this.isRetiring = false;
    return this.settings.factory(this.outgoing.startCall());
  }

  onMessage(message: In): void {
    const { outgoing, calls } = this;
    const wasIdle = outgoing.unacknowledged === 0;
    const id = this.settings.acknowledges(message);
    // Delivered first, so that nothing more is read from the source if the reader unsubscribes here.
    calls.deliver(message);
    const count = id === undefined || calls.hasEnded() ? 0 : outgoing.acknowledge(id);
    // `acknowledge` also sends queued messages; an error while sending ends the session.
    if (calls.hasEnded()) return;
    this.hasReceived = true;
    if (count > 0 || wasIdle) this.hasProgressed = true;
    if (count > 0 || calls.isPaused) this.awaitAcknowledgment();
    if (count > 0) this.afterAcknowledgment();
  }

  onCallEnd(failure: CallFailed | undefined): void {
    const { outgoing, calls } = this;
    if (failure !== undefined) {
      this.resumeOrEnd(failure);
      return;
    }
    if (this.awaited > 0) {
      const message = `The server ended the call cleanly, but did not acknowledge ${messageCount(this.awaited)} sent to it`;
      this.resumeOrEnd({ error: this.errorOf('unacknowledged', message) });
      return;
    }
    this.wasEnded = true;
    // Detects the end of the source. Otherwise, a server that ends the call with the last acknowledgment would receive another call.
    if (!outgoing.isSettled) outgoing.lookAhead();
    if (calls.isOver) return;
    if (outgoing.isSettled) calls.succeed();
    else this.resumeOrEnd(undefined);
  }

  private resumeOrEnd(failure: CallFailed | undefined, aged = false): void {
    const { calls, outgoing } = this;
    this.lastError = failure?.error;
    if (!this.isShuttingDown) {
      calls.resume(failure, aged);
      return;
    }
    if (outgoing.isSettled) {
      calls.succeed();
      return;
    }
    const { unacknowledged, queued } = outgoing;
    const unsent = queued === 0 ? '' : `, ${messageCount(queued)} queued`;
    const message = `The session ended with ${messageCount(unacknowledged)} unacknowledged${unsent}`;
    calls.fail(failure?.error ?? this.errorOf('unacknowledged', message));
  }

  /** Cancels the current call and starts the next one; `failure` is `undefined` if the call reached its maximum age. */
  private replaceCall(failure: CallFailed | undefined): void {
    this.calls.cancelCall();
    if (!this.calls.isOver) this.resumeOrEnd(failure, failure === undefined);
  }

  onMaxAge(): void {
    // During a shutdown, no call would replace this one.
    if (this.isShuttingDown) return;
    this.isRetiring = true;
    this.outgoing.retire();
    this.retirement = this.calls.clock.setTimer(() => this.replaceCall(undefined), MAX_RETIREMENT_MS);
    this.afterAcknowledgment();
  }

  /** Stops reading from the source, and completes once all messages already read are acknowledged. */
  onShutdown(): void {
    this.isShuttingDown = true;
    // A shutdown starts no further call, so a retiring call may wait longer for its acknowledgments.
    this.retirement?.clear();
    this.outgoing.finish();
    if (this.calls.isRunning) this.afterAcknowledgment();
    else this.resumeOrEnd(this.lastError === undefined ? undefined : { error: this.lastError });
  }

  onReadingResumed(): void {
    if (this.ackTimer === undefined) this.awaitAcknowledgment();
  }

  onDetached(): void {
    this.ackTimer?.clear();
    this.ackTimer = undefined;
    this.retirement?.clear();
    this.awaited = this.outgoing.awaited;
    this.outgoing.endCall();
  }

  onOver(): void {
    this.outgoing.close();
  }

  // ── acknowledgments ──

  /**
   * Restarts the timeout if a sent message awaits its acknowledgment. Does not start the timeout while the reader's buffer is full,
   * because no acknowledgment can arrive then.
   */
  private awaitAcknowledgment(): void {
    const { acknowledgmentTimeoutMs } = this.settings;
    this.ackTimer?.clear();
    this.ackTimer = undefined;
    if (acknowledgmentTimeoutMs === Infinity || this.calls.isPaused || this.outgoing.awaited === 0) return;
    this.ackTimer = new PeerTimer(this.calls.clock, acknowledgmentTimeoutMs, this.onAckTimeout);
  }

  private readonly onAckTimeout = (): void => {
    const { acknowledgmentTimeoutMs } = this.settings;
    const message = `No acknowledgment within ${String(acknowledgmentTimeoutMs)} ms; ${messageCount(this.outgoing.awaited)} sent and not acknowledged`;
    const error = this.errorOf('acknowledgment-timeout', message);
    // A server that sent a message is reachable but stuck. If no message arrived, the connection may be broken.
    const reason = this.hasReceived ? 'server' : 'connection-lost';
    this.replaceCall({
      error,
      streamFailure: { reason, code: StatusCode.DEADLINE_EXCEEDED, pushback: NO_PUSHBACK, retryAfterMs: undefined },
      // Subtracts the timeout from the duration of the call. With a long timeout, a call that was stuck from the start would otherwise
      // count as healthy.
      silentMs: acknowledgmentTimeoutMs,
    });
  };

  private afterAcknowledgment(): void {
    if (this.isShuttingDown && this.outgoing.isSettled) this.calls.succeed();
    else if (this.isRetiring && this.outgoing.awaited === 0) this.replaceCall(undefined);
  }

  // ── errors ──

  onError(error: unknown): EndedCall['requested'] {
    return this.settings.onError?.(error);
  }

  describePoison() {
    const { unacknowledged, oldest } = this.outgoing;
    const pending = `${messageCount(unacknowledged)} unacknowledged, the first with id ${describeData(oldest)}`;
    return {
      where: `without an acknowledgment${unacknowledged === 0 ? '' : ` (${pending})`}`,
      remedy: 'omit the message that causes the failures',
    };
  }

  private errorOf(reason: ReplayFailureReason, message: string): ReplayError {
    return new ReplayError(reason, message, this.outgoing.unacknowledged);
  }
}
