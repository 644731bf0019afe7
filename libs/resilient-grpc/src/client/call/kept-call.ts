import type { Attempt } from '../../call/attempt.js';
import type { MethodKind } from '../../call/method.js';
import { currentStreamScope, inStreamScope, type StreamOutcome, type StreamScope } from '../../call/stream-scope.js';
import type { StreamSink, StreamSource } from '../../call/stream-source.js';
import type { GrpcCallError } from '../../errors/grpc-call-error.js';
import type { Verdict } from '../../policy/evidence/verdict.js';
import { StatusCode } from '../../status/status-code.js';
import { NO_METADATA } from '../../channel/attempt/call-metadata.js';
import { AdmittedCall } from './admitted-call.js';
import { AttemptHistory } from './attempt-history.js';
import { bindCall, type Endable } from './call-bindings.js';
import type { MethodContext } from '../call-context.js';
import { callError, cancelled, draining, isCancelled, type CallFailure } from './call-failure.js';
import { inOrigin, originHere, type CallerContext } from './caller-context.js';
import type { CallPlace, OnDrain, RegisteredCall } from './call-registry.js';
import { endIsWanted, reportEnd, reportStart, reportUnread } from './call-reporting.js';
import { describeCall } from './describe-call.js';
import type { HedgedAttempt } from '../attempts/hedged-attempt.js';
import type { CallInput } from './prepared-call.js';
import { RequestPump, type PumpCallbacks } from '../requests/request-pump.js';
import type { ActiveCall } from '../active-call.js';
import { outermost, ScopedStream, type PartOf } from '../streams/scoped-stream.js';
import type { UnreadStream } from '../streams/unread-streams.js';

/** How long a stream is there that begins when streams are to end. */
const ENDED_AFTER_MS = 100;

/** A call in the registry, from its subscription to its one end, whoever ends it. What attempts it makes is not known here. */
export abstract class KeptCall
  extends AdmittedCall
  implements PumpCallbacks, RegisteredCall, StreamSource, UnreadStream
{
  /** Request messages of a stream. */
  protected requests: RequestPump | undefined;
  protected attempt: Attempt | undefined;
  /** `attempt`, while it is several. */
  protected hedged: HedgedAttempt | undefined;
  protected history: AttemptHistory | undefined;
  protected attemptStartedAt = 0;
  /** Headers of the attempt that runs came. */
  protected answerBegan = false;
  protected received = 0;
  /** In which context it was begun; undefined where none are kept. */
  protected origin: CallerContext | undefined;
  /** Monotonic milliseconds. */
  lastMessageAt: number | undefined;
  private place: CallPlace<this> | undefined;
  private stream: ScopedStream | undefined;
  private untie: (() => void) | undefined;

  constructor(
    context: MethodContext,
    asked: CallInput,
    protected readonly sink: StreamSink<unknown>,
    /** The stream of which it is a part. */
    private readonly part?: PartOf,
  ) {
    super(context, asked);
  }

  abstract readOn(): void;

  protected get scope(): StreamScope | undefined {
    return this.part?.scope;
  }

  get isDirect(): boolean {
    return this.part?.isDirect ?? false;
  }

  get kind(): MethodKind {
    return this.method.kind;
  }

  get madeBy(): MethodContext {
    return this.context;
  }

  get prefetch(): number {
    return this.options?.prefetch ?? this.context.policy.prefetch;
  }

  get peer(): string | undefined {
    return this.attempt?.peer;
  }

  /** Request messages sent. */
  get sent(): number {
    return this.requests?.sent ?? Math.min(this.number, 1);
  }

  get waiting(): boolean {
    return this.phase === 'waiting';
  }

  get onDrain(): OnDrain {
    const named = this.options?.onDrain ?? this.context.policy.onDrain;
    // To complete a call that answers once would be an answer that nobody gave.
    if (named === 'complete' && !this.method.responseStream) return 'finish';
    return named ?? (this.scope === undefined ? 'finish' : 'complete');
  }

  /** Begins the call; everything from here on reaches the sink, later or at once. */
  begin(): void {
    this.origin = originHere(this.asked.createdIn);
    if (this.origin === undefined && currentStreamScope() === undefined) {
      this.beginHere();
      return;
    }
    // What it begins with, a source of requests or an interceptor, belongs to whoever asked for it, and is no part of its stream.
    inOrigin(this.origin, () => {
      inStreamScope(undefined, () => {
        this.beginHere();
      });
    });
  }

  private beginHere(): void {
    const { registry } = this.context.client;
    if (registry.streamsEnd && registry.accepting !== 'closed' && this.onDrain === 'complete') {
      this.completeSoon();
      return;
    }
    let failure: CallFailure | undefined;
    this.telemetry = this.context.client.telemetry?.begin(this.method, this.scope);
    try {
      failure = this.prepare(this.scope);
    } catch (error) {
      this.phase = 'ended';
      this.telemetry?.end(StatusCode.INVALID_ARGUMENT, 'Invalid call options');
      this.sink.error(error);
      return;
    }
    // None resumes; anything else may still begin.
    const endsToo = registry.streamsEnd && (this.onDrain === 'fail' || (this.scope?.resumes ?? 0) > 0);
    if (failure === undefined && endsToo) failure = draining();
    if (failure !== undefined) {
      this.phase = 'ended';
      if (!isCancelled(failure)) this.context.statistics.refused(failure);
      this.telemetry?.end(failure.code, failure.details);
      this.sink.error(callError(this.context, failure, undefined, 'no'));
      return;
    }
    this.context.statistics.started += 1;
    this.enter();
    reportStart(this.context);
    // Whoever was told may have ended it.
    if (!this.isOpen()) return;
    this.untie = this.tieTo(this);
    if (this.method.requestStream && !this.openRequests()) return;
    if (this.outgoing === undefined) this.proceed();
    else this.askInterceptors(this.outgoing);
  }

  /** It begins when streams like it have been told to end. Not at once: behind a `repeat()` it would come again in the same turn. */
  private completeSoon(): void {
    const { clock } = this.context.client;
    const timer = clock.setTimer(() => {
      if (this.phase === 'ended') return;
      this.phase = 'ended';
      outermost(this.scope, this.sink).complete();
    }, ENDED_AFTER_MS);
    this.untie = () => {
      clock.clearTimer(timer);
    };
  }

  private enter(): void {
    const { scope, context } = this;
    const { registry, unread } = context.client;
    // What comes back after an outage stands in its queue: a server that restarts gets its streams back at a pace.
    this.rateLimited = (scope?.resumes ?? 0) > 0;
    if (scope === undefined) {
      this.place = registry;
      if (this.sink.demand !== undefined) unread.watch(this, this.sink.demand);
    } else {
      this.stream = ScopedStream.of(scope, context, this.asked.openedAt);
      this.place = this.stream;
    }
    this.place.add(this);
  }

  /** An attempt begins: a stream that broke off goes on. */
  protected onAttemptStart(): void {
    this.stream?.onAttemptStart();
  }

  /** Ends `call` with what this one's caller tied it to. Returns how to untie it, if there is anything. */
  tieTo(call: Endable): (() => void) | undefined {
    return bindCall(this.options, this.binding?.signal, call);
  }

  /** The reader has left. */
  unsubscribe(): void {
    if (this.phase === 'ended') return;
    this.context.statistics.cancelled();
    this.stop('cancelled');
    this.telemetry?.end(StatusCode.CANCELLED, 'The reader unsubscribed');
  }

  /** It has not ended. What a caller, an interceptor or a listener does in between may end it at any place. */
  isOpen(): boolean {
    return this.phase !== 'ended';
  }

  private openRequests(): boolean {
    try {
      this.requests = new RequestPump(this.asked.request, this, this.context, this.interceptors === undefined);
    } catch (error) {
      this.sourceFailed(error);
    }
    if (this.isOpen()) return true;
    // A source may have ended the call while it was subscribed to, when there was nothing yet to let go of.
    this.requests?.close();
    return false;
  }

  sourceFailed(error: unknown): void {
    if (this.phase === 'ended') return;
    this.context.statistics.sourceFailed();
    this.stop('failed');
    this.telemetry?.end(StatusCode.CANCELLED, 'The source of the requests failed');
    this.sink.error(error);
  }

  // ── the end ──

  override failBackoff(until: number): boolean {
    return this.hedged === undefined ? super.failBackoff(until) : this.hedged.failHeld(until);
  }

  terminate(reason: 'draining' | 'closed', details: string): void {
    this.end({ code: StatusCode.UNAVAILABLE, details, reason });
  }

  complete(): void {
    if (this.phase === 'ended') return;
    const peer = this.attempt?.peer;
    this.context.statistics.succeeded(this.context.client.clock.now());
    this.stop('succeeded');
    this.reportEnd({
      code: StatusCode.OK,
      details: 'Ended by the shutdown of the client',
      metadata: NO_METADATA,
      peer,
    });
    this.sink.complete();
  }

  override end(failure: CallFailure): void {
    if (this.phase === 'ended') return;
    const peer = failure.peer ?? this.attempt?.peer;
    if (this.attempt !== undefined && this.hedged === undefined) {
      this.history ??= new AttemptHistory();
      this.history.add(this.number, { peer }, failure, this.context.client.clock.now() - this.attemptStartedAt);
    }
    const { statistics, client } = this.context;
    if (failure.reason === 'deadline' && this.phase === 'running' && !this.answerBegan) {
      client.budget.onDeadline(client.clock.now(), this.attemptStartedAt);
    }
    const cancelled = isCancelled(failure);
    const attempted = (this.history?.records.length ?? 0) > 0;
    if (cancelled) statistics.cancelled();
    else statistics.failed({ ...failure, peer }, attempted, client.clock.now());
    const error = callError(this.context, { ...failure, peer }, this.history, this.cutOff());
    this.stop(cancelled ? 'cancelled' : 'failed', failure.reason === 'deadline' ? 'deadline' : undefined);
    this.reportEnd(error);
    this.sink.error(error);
  }

  /** How far the attempt got that is cut off now. */
  private cutOff(): Verdict['reachedServer'] {
    if (this.hedged !== undefined) return this.hedged.reached;
    if (this.attempt === undefined) return 'no';
    return this.answerBegan ? 'yes' : 'maybe';
  }

  /** Lets go of everything that is held, on the wire too. */
  private stop(outcome: StreamOutcome, because?: 'deadline'): void {
    const { attempt } = this;
    this.leave();
    this.attempt = undefined;
    if (attempt !== undefined) this.context.client.registry.abandon(attempt, because);
    this.releaseResources(outcome);
  }

  protected releaseResources(outcome: StreamOutcome): void {
    this.releaseWaiting();
    this.untie?.();
    this.untie = undefined;
    this.requests?.close();
    if (this.sink.demand !== undefined) this.context.client.unread.forget(this);
    this.place?.delete(this, outcome);
  }

  // ── what is told ──

  unread(unreadMs: number): void {
    reportUnread(this.context, this.asked.openedAt, this.startedAt, unreadMs);
  }

  protected reportEnd(end: Pick<GrpcCallError, 'code' | 'details' | 'metadata' | 'peer'>): void {
    const { code, details, metadata: trailers, peer } = end;
    this.telemetry?.end(code, details);
    if (!endIsWanted(this.context, this.options)) return;
    const durationMs = this.context.client.clock.now() - this.startedAt;
    inOrigin(this.origin, () => {
      reportEnd(this.context, this.options, this.outgoing, this.history, { code, details, trailers, peer, durationMs });
    });
  }

  describe(): ActiveCall {
    return describeCall(this.context, {
      peer: this.peer,
      startedAt: this.startedAt,
      lastMessageAt: this.lastMessageAt,
      sent: this.sent,
      received: this.received,
      waiting: this.waiting,
      openedAt: this.asked.openedAt,
      cancel: (details) => {
        this.end(cancelled(details, undefined));
      },
    });
  }
}
