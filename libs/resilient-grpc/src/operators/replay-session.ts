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
import { ReplayOutgoing, type OutgoingOwner, type OutgoingRules } from './replay-outgoing.js';
import type { SourceInput } from './replay-source.js';
import { schedulerClock } from './scheduler-clock.js';

/** Options of `replayUnacknowledged`, complete. */
export interface ReplaySettings<Out, In, Id extends ReplayId> extends SequenceSettings, OutgoingRules<Out, Id> {
  readonly factory: (outgoing: AsyncIterable<Out>) => Observable<In>;
  readonly outgoing: SourceInput<Out>;
  readonly acknowledges: (message: In) => Id | undefined;
  readonly onError: ((error: unknown) => EndedCall['asked']) | undefined;
  /** Infinity: any time. */
  readonly ackTimeoutMs: number;
}

// What a call that has reached its age has for the acknowledgements of what it was sent.
const LAST_ACKNOWLEDGEMENTS_MS = 1_000;

/**
 * One session over several calls, one after the other. What is sent is the business of its outgoing half; here is what comes
 * back, and when a call counts as broken.
 */
export class ReplaySession<Out, In, Id extends ReplayId> extends CallSequence<In> implements OutgoingOwner {
  protected override readonly operator = 'replayUnacknowledged';
  protected override hasProgressed = false;

  private readonly outgoing: ReplayOutgoing<Out, Id>;
  /** A message came over the call that runs. */
  private hasReceived = false;
  /** Messages that the last call was sent and did not acknowledge. */
  private awaited = 0;
  /** The last call was ended in order, by the server. */
  private wasEnded = false;
  /** Nothing is resumed any more. */
  private isLeaving = false;
  /** What the last call failed with. */
  private lastError: unknown;
  /** The call that runs has reached its age: it is sent nothing more. */
  private isRetiring = false;
  private retirement: Subscription | undefined;
  private readonly clock = schedulerClock(this.scheduler);
  /** Until the current call counts as broken. */
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
    // A source that pushes may have failed in there; nothing is begun then.
    super.begin();
  }

  override readOn(): void {
    super.readOn();
    if (this.ackTimer === undefined) this.awaitAcknowledgement();
  }

  /** Takes nothing more from the source, and completes when what was taken is acknowledged. */
  override complete(): void {
    if (this.over()) return;
    this.isLeaving = true;
    this.outgoing.finish();
    if (this.isRunning && !this.isOpening) this.afterAcknowledgement();
    else this.goOn(this.lastError === undefined ? undefined : { error: this.lastError });
  }

  // ── what the outgoing half tells ──

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
      // First, so that a reader who leaves takes nothing more from the source.
      this.handOver(message);
      if (id !== undefined && !this.over()) count = outgoing.acknowledge(id);
    } catch (error) {
      this.fail(error);
    }
    // To send what there is room for now may have failed, too.
    if (this.over()) return;
    this.hasReceived = true;
    if (count > 0 || wasIdle) this.hasProgressed = true;
    if (count > 0 || this.hasEnough) this.awaitAcknowledgement();
    if (count > 0) this.afterAcknowledgement();
  }

  protected override endedInOrder(): void {
    const { outgoing } = this;
    if (this.awaited > 0) {
      this.goOn({ error: leftUnacknowledged(this.awaited, outgoing.unacknowledged) });
      return;
    }
    this.wasEnded = true;
    // Else a server that ends the call with the last acknowledgement would get one call more.
    if (!outgoing.isSettled) outgoing.lookAhead();
    if (this.over()) return;
    if (outgoing.isSettled) this.succeed();
    else this.goOn(undefined);
  }

  protected override tooOld(): void {
    this.isRetiring = true;
    this.outgoing.retire();
    const leave = (): void => this.replaceCall(undefined);
    this.retirement = this.scheduler.schedule(leave, LAST_ACKNOWLEDGEMENTS_MS);
    this.afterAcknowledgement();
  }

  protected override goOn(failure: CallFailed | undefined, aged = false): void {
    this.lastError = failure?.error;
    if (!this.isLeaving) super.goOn(failure, aged);
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

  /** Afresh, where there is anything that can be acknowledged; to a reader who has enough none can arrive. */
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
    // Who has said something is there, and stuck; who has not may be behind a connection that is dead.
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

  // ── the word of the user, and errors ──

  protected override ask(error: unknown): EndedCall['asked'] {
    return this.settings.onError?.(error);
  }

  protected override poisoned(error: unknown, code: StatusCode | undefined): ResumeError {
    return poisonedAt(error, code, this.outgoing);
  }
}
