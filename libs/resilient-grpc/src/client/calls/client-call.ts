import { AsyncResource } from 'node:async_hooks';
import type { Interceptor } from '@grpc/grpc-js';
import type { Attempt, AttemptEnd, ResponseHeaders } from '../../call/attempt.js';
import type { MethodDescriptor, MethodKind } from '../../call/method.js';
import {
  currentStreamScope,
  inStreamScope,
  type StreamOutcome,
  type StreamScope,
  type StreamSink,
  type StreamSource,
} from '../../call/stream-source.js';
import { notifyListener } from '../../errors/error-message.js';
import type { NotRetriedReason } from '../../errors/grpc-call-error.js';
import type { Verdict } from '../../policy/evidence/classify.js';
import { StatusCode } from '../../status/status-code.js';
import type { ActiveCall } from '../client-snapshot.js';
import type { MethodContext } from '../call-context.js';
import { inCallerContext, currentCallerContext } from '../caller/caller-context.js';
import { RequestPump, type PumpCallbacks } from '../requests/request-pump.js';
import { InvalidSource } from '../requests/request-source.js';
import type { ClientDrainMode, GrpcCallOptions } from '../resilient-types.js';
import {
  draining,
  isCancelled,
  preparationFailure,
  TOO_MANY_RESPONSES,
  type CallFailure,
} from '../attempts/call-failure.js';
import { callInterceptors } from './call-arguments.js';
import { bindCall, type Endable } from './call-bindings.js';
import type { CallPlace, RegisteredCall } from './call-registry.js';
import { CallReport, reportUnread } from './call-report.js';
import { CallRunner, type RunnerCall } from './call-runner.js';
import { describeCall } from './describe-call.js';
import { isInboundAtDeadline, sinkInContext } from './inbound-binding.js';
import { encodeRequest, prepareCall, UNPREPARED, type CallInput, type PreparedCall } from './prepare-call.js';
import { outermost, ScopedStream, type StreamMembership } from './scoped-stream.js';
import type { UnreadStream } from './unread-streams.js';

/** Delay in milliseconds before the completion of a stream that starts while streams are being ended. */
const COMPLETION_DELAY_MS = 100;
/** One call: also its entry in the registry, and the source of its stream, to allocate few objects. Its runner runs the attempts. */
export class ClientCall implements RunnerCall, PumpCallbacks, RegisteredCall, StreamSource, UnreadStream {
  private readonly method: MethodDescriptor;
  private readonly options: GrpcCallOptions | undefined;
  private readonly interceptors: readonly Interceptor[] | undefined;
  private isEnded = false;
  private prepared = UNPREPARED;
  private readonly report: CallReport;
  /** The caller's async context, in which the call ends. grpc-js reports OK in the context of the request that opened the connection. */
  private asyncContext!: AsyncResource;
  private runner: CallRunner | undefined;
  requests: RequestPump | undefined;
  private place: CallPlace<this> | undefined;
  private stream: ScopedStream | undefined;
  private unbind: (() => void) | undefined;
  private hasHeaders = false;
  private reading = false;
  private hasResult = false;
  private result: unknown;
  private received = 0;
  /** Arrival of the latest message of a response stream, in monotonic milliseconds; `undefined` before the first message. */
  lastMessageAt: number | undefined;

  constructor(
    private readonly context: MethodContext,
    private readonly input: CallInput,
    private sink: StreamSink<unknown>,
    private readonly part?: StreamMembership,
  ) {
    this.method = context.method;
    this.options = input.given.options;
    this.interceptors = this.options === undefined ? context.interceptors : callInterceptors(context, this.options);
    this.report = new CallReport(context, input);
  }

  // ── the start ──

  /** Starts the call. The sink receives all events of the call, in this turn or later. */
  begin(): void {
    const origin = currentCallerContext(this.input.createdIn);
    this.report.origin = origin;
    if (origin === undefined && currentStreamScope() === undefined) {
      this.beginHere();
      return;
    }
    if (origin !== undefined) this.sink = sinkInContext(this.sink, origin);
    // The request source and the interceptors run in the context of the caller. Their own calls are not part of this call's stream.
    inCallerContext(origin, () => {
      inStreamScope(undefined, this.beginHere.bind(this));
    });
  }

  private beginHere(): void {
    const { client } = this.context;
    const { registry } = client;
    const scope = this.part?.scope;
    this.asyncContext = new AsyncResource('ResilientGrpcCall');
    if (registry.areStreamsEnding && registry.accepting !== 'closed' && this.onDrain === 'complete') {
      this.completeLater();
      return;
    }
    this.report.telemetry = client.telemetry?.begin(this.method, scope, this.input.given.metadata);
    let prepared: PreparedCall | CallFailure;
    try {
      prepared = prepareCall(this.context, this.input, this.interceptors, scope);
    } catch (error) {
      prepared = preparationFailure(error);
    }
    // While streams are being ended, no stream resumes, and no call with `onDrain: 'fail'` starts. Other calls may still start.
    const endsToo = registry.areStreamsEnding && (this.onDrain === 'fail' || (scope?.resumes ?? 0) > 0);
    if (endsToo && !('reason' in prepared)) prepared = draining();
    if ('reason' in prepared) {
      this.isEnded = true;
      this.sink.error(this.report.rejected(prepared));
      return;
    }
    this.prepared = prepared;
    const runner = new CallRunner(this.context, prepared, this.options, this.report, this);
    this.runner = runner;
    this.register(scope, runner);
    // Bound first, because a listener of 'call-start' may abort the signal.
    if (this.options !== undefined || prepared.binding !== undefined) this.unbind = this.bindTo(this);
    this.report.started(prepared.startedAt);
    // A listener may have ended the call.
    if (!this.isOpen()) return;
    if (this.method.requestStream && !this.openRequests()) return;
    if (prepared.outgoing === undefined) runner.proceed();
    else this.runInterceptors(prepared.outgoing, runner);
  }

  /**
   * Completes a stream that starts while streams are being ended. Delayed, because a `repeat()` around it would start it again in the same
   * turn.
   */
  private completeLater(): void {
    const { clock } = this.context.client;
    const timer = clock.setTimer(() => {
      if (this.isEnded) return;
      this.isEnded = true;
      outermost(this.part?.scope, this.sink).complete();
    }, COMPLETION_DELAY_MS);
    this.unbind = timer.clear.bind(timer);
  }

  private register(scope: StreamScope | undefined, runner: CallRunner): void {
    const { registry, unread } = this.context.client;
    if (scope === undefined) {
      this.place = registry;
      if (this.sink.demand !== undefined) unread.watch(this, this.sink.demand);
    } else {
      this.stream = ScopedStream.of(scope, this.context, this.input.openedAt);
      this.place = this.stream;
      // Streams resume at a limited rate, because a server that restarts loses all its streams at once.
      if (scope.resumes > 0) runner.limitRate();
    }
    this.place.add(this);
  }

  /** Opens the request source, which may end the call. Returns true if the call is still open. */
  private openRequests(): boolean {
    const serialize = this.interceptors === undefined ? encodeRequest : undefined;
    try {
      this.requests = new RequestPump(this.input.request, this, this.context, serialize);
    } catch (error) {
      // A value that is not a source is a mistake in the call, so its error names the call. An error of the source itself is passed on.
      if (error instanceof InvalidSource) this.end(preparationFailure(error));
      else this.sourceFailed(error);
    }
    if (this.isOpen()) return true;
    this.requests?.close();
    return false;
  }

  private runInterceptors(outgoing: NonNullable<PreparedCall['outgoing']>, runner: CallRunner): void {
    let completed: Promise<void> | undefined;
    this.report.outgoing = outgoing;
    try {
      completed = this.context.attemptInterceptors?.hooks?.onCall(outgoing);
    } catch (error) {
      this.end(preparationFailure(error));
      return;
    }
    // An interceptor may have ended the call.
    if (!this.isOpen()) return;
    if (completed === undefined) runner.proceed();
    else runner.proceedAfter(completed);
  }

  // ── attempts ──

  inContext<T>(work: () => T): T {
    return this.asyncContext.runInAsyncScope(() => inCallerContext(this.report.origin, work));
  }

  attemptBegins(): void {
    this.hasHeaders = false;
    this.reading = true;
    this.stream?.onAttemptStart();
  }

  resumeReading(): void {
    if (this.isEnded || this.reading) return;
    this.reading = true;
    this.runner?.startRead();
  }

  onHeaders(headers: ResponseHeaders): void {
    this.hasHeaders = true;
    this.report.telemetry?.answered?.(headers.metadata);
    if (this.method.responseStream) {
      const { transport, clock } = this.context.client;
      this.requests?.commit();
      const now = clock.now();
      transport.answered(undefined, this.method.path);
      this.runner?.streamAnswered(now);
      this.context.statistics.answered(now - this.prepared.startedAt, now);
    }
    const onHeaders = this.options?.onHeaders;
    if (onHeaders !== undefined) notifyListener(onHeaders, headers.metadata);
  }

  onMessage(message: unknown): void {
    this.reading = false;
    this.received += 1;
    if (this.method.responseStream) {
      this.lastMessageAt = this.context.client.clock.now();
      if (this.sink.next(message) !== false) this.resumeReading();
    } else if (this.hasResult) {
      this.runner?.cancel('protocol', StatusCode.UNIMPLEMENTED, TOO_MANY_RESPONSES);
    } else {
      // A single response is kept until its status arrives. Reading continues, because a second response must make the call fail.
      this.hasResult = true;
      this.result = message;
      this.resumeReading();
    }
  }

  onEnd(end: AttemptEnd): void {
    const { runner } = this;
    if (runner === undefined) return;
    const isAnswer = end.code === StatusCode.OK && (this.method.responseStream || this.hasResult);
    // eslint-disable-next-line @typescript-eslint/unbound-method -- called with `this`; a closure would be created for each call
    if (isAnswer) this.asyncContext.runInAsyncScope(this.succeeded, this, end, runner);
    // eslint-disable-next-line @typescript-eslint/unbound-method -- as above
    else this.asyncContext.runInAsyncScope(runner.failed, runner, end);
  }

  attemptFailed(): void {
    this.requests?.attemptEnded();
    this.hasResult = false;
    this.result = undefined;
  }

  // ── the end ──

  private succeeded(end: AttemptEnd, runner: CallRunner): void {
    const { transport, budget, clock } = this.context.client;
    const { responseStream, path } = this.method;
    const now = clock.now();
    const latencyMs = now - runner.startedAt;
    transport.answered(responseStream ? undefined : latencyMs, path);
    budget.current.onSuccess(now);
    // The latency of a stream was recorded when its headers arrived.
    const isAnswer = !responseStream || !this.hasHeaders;
    // The end is counted before the call releases its resources, because the release may run other calls. The end is reported afterward.
    this.context.statistics.succeeded(isAnswer ? now - this.prepared.startedAt : undefined, now);
    this.isEnded = true;
    runner.succeeded(latencyMs);
    this.releaseResources('succeeded');
    this.report.succeeded(runner.number, end, latencyMs);
    if (this.hasResult) this.sink.next(this.result);
    this.sink.complete();
  }

  failed(failure: CallFailure, verdict: Verdict, because: NotRetriedReason | 'success', wasSent: boolean): void {
    const stream = this.method.responseStream ? outermost(this.part?.scope, undefined) : undefined;
    if (stream === undefined) this.report.attemptEnded(verdict, 'none', because);
    if (this.isEnded) return;
    this.endWith(failure, wasSent);
    // Reported last, because the end of the call determines whether its stream resumes.
    if (stream !== undefined) this.report.attemptEnded(verdict, stream.isOver ? 'none' : 'resume', because);
  }

  /** Fails the call. Has no effect if the call has ended. */
  end(failure: CallFailure): void {
    if (!this.isEnded) this.endWith(failure, this.runner?.isSent ?? false);
  }

  /** @param wasSent whether part of the attempt that the failure ends may have been sent */
  private endWith(reason: CallFailure, wasSent: boolean): void {
    const { report, runner } = this;
    const { clock, budget } = this.context.client;
    const now = clock.now();
    const failure = { ...reason, peer: reason.peer ?? runner?.peer };
    runner?.noteInterruption(failure);
    const isDeadline = failure.reason === 'deadline';
    // The timeout of an attempt that was not sent is no evidence about the server.
    if (isDeadline && wasSent && !this.hasHeaders) budget.current.onDeadline(now, runner?.runningSince ?? now);
    const error = report.errorOf(failure, this.interruptedReach());
    const stream = this.streamInterruptedBy(failure);
    if (stream === undefined) report.failed(failure, now);
    const isTimeout = isDeadline || (failure.reason === 'inbound-cancelled' && this.hasInboundTimedOut());
    this.stop(isCancelled(failure) ? 'cancelled' : 'failed', isTimeout ? 'deadline' : undefined);
    this.asyncContext.runInAsyncScope(() => {
      report.ended(error);
      this.sink.error(error);
    });
    if (stream === undefined) return;
    // Counted last, because the sink determines whether the stream resumes.
    if (stream.isOver) report.failed(failure, now);
    else this.stream?.interrupted(failure, this.context.statistics);
  }

  /**
   * Returns the stream that `failure` may interrupt without ending it. Before headers arrive, only the loss of the connection interrupts a
   * stream.
   */
  private streamInterruptedBy(failure: CallFailure): StreamScope | undefined {
    if (!this.method.responseStream || isCancelled(failure)) return undefined;
    if (!this.hasHeaders && failure.reason !== 'connection-lost') return undefined;
    return outermost(this.part?.scope, undefined);
  }

  /** `reachedServer` of the attempt that is interrupted; 'no' if no attempt is running, or if no part of it has been sent. */
  private interruptedReach(): Verdict['reachedServer'] {
    const { runner } = this;
    if (runner === undefined) return 'no';
    return this.hasHeaders && runner.isSent ? 'yes' : runner.reach;
  }

  /** Cancels the call, because the reader unsubscribed. */
  unsubscribe(): void {
    if (this.isEnded) return;
    // A stream that `completeLater` holds is not registered, and was not counted as started.
    if (this.place !== undefined) this.context.statistics.cancelled += 1;
    this.stop('cancelled', this.hasInboundTimedOut() ? 'deadline' : undefined);
    this.report.cancelled('The reader unsubscribed');
  }

  sourceFailed(error: unknown): void {
    if (this.isEnded) return;
    this.context.statistics.sourceFailed();
    this.stop('failed');
    this.report.cancelled('The request source failed');
    this.sink.error(error);
  }

  complete(): void {
    if (this.isEnded) return;
    const { peer } = this;
    this.context.statistics.succeeded(undefined, this.context.client.clock.now());
    this.stop('succeeded');
    this.asyncContext.runInAsyncScope(() => {
      this.report.completed(peer);
      this.sink.complete();
    });
  }

  terminate(reason: 'draining' | 'closed', details: string): void {
    this.end({ code: StatusCode.UNAVAILABLE, details, reason });
  }

  failBackoff(until: number): boolean {
    return this.runner?.failBackoff(until) ?? false;
  }

  private hasInboundTimedOut(): boolean {
    return !this.hasHeaders && isInboundAtDeadline(this.prepared, this.context.client.clock);
  }

  private stop(outcome: StreamOutcome, because?: 'deadline'): void {
    this.isEnded = true;
    this.runner?.stop(because);
    this.releaseResources(outcome);
  }

  private releaseResources(outcome: StreamOutcome): void {
    this.unbind?.();
    this.unbind = undefined;
    this.requests?.close();
    if (this.sink.demand !== undefined) this.context.client.unread.forget(this);
    this.place?.delete(this, outcome);
  }

  // ── state for callers and the registry ──

  /** True if the call has not ended. Callers, interceptors, and listeners may end it during any callback. */
  isOpen(): boolean {
    return !this.isEnded;
  }

  /** Binds `call` to the abort signal, the inbound call, and the `parent` of this call. Returns the function that unbinds it, if any. */
  bindTo(call: Endable): (() => void) | undefined {
    return bindCall(this.options, this.prepared.binding?.signal, call);
  }

  unread(unreadMs: number): void {
    reportUnread(this.context, this.input.openedAt, this.startedAt, unreadMs);
  }

  get kind(): MethodKind {
    return this.method.kind;
  }

  get startedAt(): number {
    return this.prepared.startedAt;
  }

  get deadline(): number {
    return this.prepared.deadline;
  }

  get isPartOfStream(): boolean {
    return this.part !== undefined;
  }

  get isDirect(): boolean {
    return this.part?.isDirect ?? false;
  }

  get createdBy(): MethodContext {
    return this.context;
  }

  get prefetch(): number {
    return this.context.policy.prefetch;
  }

  get peer(): string | undefined {
    return this.runner?.peer;
  }

  get authContext(): Attempt['authContext'] {
    return this.runner?.authContext;
  }

  get sent(): number {
    return this.requests?.sent ?? Math.min(this.runner?.number ?? 0, 1);
  }

  get waiting(): boolean {
    return this.runner?.isWaiting ?? false;
  }

  get onDrain(): ClientDrainMode {
    if (!this.method.responseStream) return 'finish';
    return this.context.policy.onDrain ?? (this.part === undefined ? 'finish' : 'complete');
  }

  describe(): ActiveCall {
    const { peer, startedAt, lastMessageAt, sent, received, waiting } = this;
    const { openedAt } = this.input;
    const stalledBy = this.runner?.obstacle;
    const state = { peer, startedAt, lastMessageAt, sent, received, waiting, stalledBy, openedAt };
    return describeCall(this.context, state, this);
  }
}
