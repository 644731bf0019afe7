import type { Observable, Subscription } from 'rxjs';
import type { StreamOutcome, StreamScope } from '../call/stream-scope.js';
import type { StreamSink, StreamSource } from '../call/stream-source.js';
import type { ResumeError } from '../errors/resume-error.js';
import { NO_PUSHBACK } from '../policy/pushback/parse-pushback.js';
import type { EndedCall } from '../policy/resume/decide-resume.js';
import { StatusCode } from '../status/status-code.js';
import { PeerTimer } from '../time/peer-timer.js';
import { CallSequence, type CallFailed, type SequenceSettings } from './call-sequence.js';
import { leftUnacknowledged, noAcknowledgement, notReplayed, poisonedAt } from './replay-failures.js';
import type { ReplayId } from './replay-id.js';
import { ReplayOutgoing, type OutgoingCallbacks, type OutgoingRules } from './replay-outgoing.js';
import type { SourceInput } from './replay-source.js';
import { schedulerClock } from './scheduler-clock.js';

/** Options of `replayUnacknowledged` with defaults applied. */
export interface ReplaySettings<Out, In, Id extends ReplayId> extends SequenceSettings, OutgoingRules<Out, Id> {
  readonly factory: (outgoing: AsyncIterable<Out>) => Observable<In>;
  readonly outgoing: SourceInput<Out>;
  readonly acknowledges: (message: In) => Id | undefined;
  readonly onError: ((error: unknown) => EndedCall['asked']) | undefined;
  /** Infinity means no timeout. */
  readonly ackTimeoutMs: number;
}

// Maximum wait for outstanding acknowledgements after a call has reached `maxAgeMs`.
const LAST_ACKNOWLEDGEMENTS_MS = 1_000;

/**
 * Runs one session over several consecutive calls. `ReplayOutgoing` sends; this class receives messages and acknowledgements and detects
 * broken calls.
 */
export class ReplaySession<Out, In, Id extends ReplayId> extends CallSequence<In> implements OutgoingCallbacks {
  protected override readonly operator = 'replayUnacknowledged';
  protected override hasProgressed = false;

  private readonly outgoing: ReplayOutgoing<Out, Id>;
  /** True if the current call has received a message. */
  private hasReceived = false;
  /** Number of messages sent on the last call that it did not acknowledge. */
  private awaited = 0;
  /** True if the server ended the last call cleanly. */
  private wasEnded = false;
  /** True after `complete()`: no further call is started. */
  private isLeaving = false;
  /** Error of the last call. */
  private lastError: unknown;
  /** True if the current call has reached `maxAgeMs`; nothing more is sent on it. */
  private isRetiring = false;
  private retirement: Subscription | undefined;
  private readonly clock = schedulerClock(this.scheduler);
  /** Fires when the current call counts as broken. */
  private ackTimer: PeerTimer | undefined;

  constructor(
    private readonly settings: ReplaySettings<Out, In, Id>,
    sink: StreamSink<In>,
    outer?: StreamScope,
  ) {
    super(settings, sink, outer);
    this.outgoing = new ReplayOutgoing(settings.outgoing, settings, this);
  }

  override begin(): void {
    this.outgoing.open();
    // If an Observable source has already failed in `open`, the session is over and this starts no call.
    super.begin();
  }

  override readOn(): void {
    super.readOn();
    if (this.ackTimer === undefined) this.awaitAcknowledgement();
  }

  /** Stops reading from the source, and completes once all messages already read are acknowledged. */
  override complete(): void {
    if (this.over()) return;
    this.isLeaving = true;
    this.outgoing.finish();
    if (this.isRunning && !this.isOpening) this.afterAcknowledgement();
    else this.startNextCall(this.lastError === undefined ? undefined : { error: this.lastError });
  }

  // ── outgoing callbacks ──

  onSent(): void {
    if (this.ackTimer === undefined) this.awaitAcknowledgement();
  }

  onSourceEnd(): void {
    if (!this.isRunning && this.wasEnded && this.outgoing.isSettled) this.succeed();
  }

  onOutgoingError(error: unknown): void {
    this.fail(error);
  }

  // ── calls ──

  protected override make(): Observable<In> {
    this.hasProgressed = false;
    this.hasReceived = false;
    this.wasEnded = false;
    this.isRetiring = false;
    return this.settings.factory(this.outgoing.connect());
  }

  protected override take(message: In): void {
    const { outgoing } = this;
    const wasIdle = outgoing.unacknowledged === 0;
    let count = 0;
    try {
      const id = this.settings.acknowledges(message);
      // Delivered first: if the reader unsubscribes here, nothing more is read from the source.
      this.handOver(message);
      if (id !== undefined && !this.over()) count = outgoing.acknowledge(id);
    } catch (error) {
      this.fail(error);
    }
    // `acknowledge` also sends messages that fit now, which may have failed the session.
    if (this.over()) return;
    this.hasReceived = true;
    if (count > 0 || wasIdle) this.hasProgressed = true;
    if (count > 0 || this.hasEnough) this.awaitAcknowledgement();
    if (count > 0) this.afterAcknowledgement();
  }

  protected override endedInOrder(): void {
    const { outgoing } = this;
    if (this.awaited > 0) {
      this.startNextCall({ error: leftUnacknowledged(this.awaited, outgoing.unacknowledged) });
      return;
    }
    this.wasEnded = true;
    // Detects the end of the source. Otherwise a server that ends the call with the last acknowledgement would receive another call.
    if (!outgoing.isSettled) outgoing.lookAhead();
    if (this.over()) return;
    if (outgoing.isSettled) this.succeed();
    else this.startNextCall(undefined);
  }

  protected override tooOld(): void {
    this.isRetiring = true;
    this.outgoing.retire();
    const leave = (): void => this.replaceCall(undefined);
    this.retirement = this.scheduler.schedule(leave, LAST_ACKNOWLEDGEMENTS_MS);
    this.afterAcknowledgement();
  }

  protected override startNextCall(failure: CallFailed | undefined, aged = false): void {
    this.lastError = failure?.error;
    if (!this.isLeaving) super.startNextCall(failure, aged);
    else if (this.outgoing.isSettled) this.succeed();
    else this.fail(failure?.error ?? notReplayed(this.outgoing.unacknowledged));
  }

  protected override leaveCall(): StreamSource | undefined {
    this.ackTimer?.clear();
    this.ackTimer = undefined;
    this.retirement?.unsubscribe();
    if (this.isRunning) {
      this.awaited = this.outgoing.awaited;
      this.outgoing.disconnect();
    }
    return super.leaveCall();
  }

  protected override finish(how: StreamOutcome): boolean {
    const isFirst = super.finish(how);
    if (isFirst) this.outgoing.close();
    return isFirst;
  }

  // ── acknowledgements ──

  /**
   * Restarts the timeout if a sent message awaits its acknowledgement. Does not start it while the reader's buffer is full, because no
   * acknowledgement can arrive then.
   */
  private awaitAcknowledgement(): void {
    const { ackTimeoutMs } = this.settings;
    this.ackTimer?.clear();
    this.ackTimer = undefined;
    if (ackTimeoutMs === Infinity || this.hasEnough || this.outgoing.awaited === 0) return;
    this.ackTimer = new PeerTimer(this.clock, ackTimeoutMs, this.notAcknowledged);
  }

  private readonly notAcknowledged = (): void => {
    const { ackTimeoutMs } = this.settings;
    const error = noAcknowledgement(ackTimeoutMs, this.outgoing.awaited, this.outgoing.unacknowledged);
    // A server that sent a message is reachable but stuck. Without any message, the connection may be broken.
    const reason = this.hasReceived ? 'server' : 'connection-lost';
    this.replaceCall({
      error,
      says: { reason, code: StatusCode.DEADLINE_EXCEEDED, pushback: NO_PUSHBACK, retryAfterMs: undefined },
      // A call that is stuck from its start was never healthy, however long the timeout is.
      silentMs: ackTimeoutMs,
    });
  };

  private afterAcknowledgement(): void {
    if (this.isLeaving && this.outgoing.isSettled) this.succeed();
    else if (this.isRetiring && this.outgoing.awaited === 0) this.replaceCall(undefined);
  }

  // ── errors ──

  protected override ask(error: unknown): EndedCall['asked'] {
    return this.settings.onError?.(error);
  }

  protected override poisoned(error: unknown, code: StatusCode | undefined): ResumeError {
    return poisonedAt(error, code, this.outgoing);
  }
}
