import { AsyncResource } from 'node:async_hooks';
import type { Interceptor } from '@grpc/grpc-js';
import type { Attempt, AttemptEnd, AttemptRequest, ResponseHeaders, StartAttempt } from '../../call/attempt.js';
import type { AttemptEndReason } from '../../call/call-event.js';
import type { WaitEnd } from '../../call/call-telemetry.js';
import type { MethodDescriptor, MethodKind } from '../../call/method.js';
import {
  currentStreamScope,
  inStreamScope,
  type StreamOutcome,
  type StreamScope,
  type StreamSink,
  type StreamSource,
} from '../../call/stream-source.js';
import { attemptMetadata } from '../../channel/wire/call-metadata.js';
import { CircuitOpenError } from '../../errors/operator-errors.js';
import { notifyListener } from '../../errors/error-message.js';
import { permitOutcome } from '../../policy/concurrency/adaptive-limit.js';
import { isAnswered, type Verdict } from '../../policy/evidence/classify.js';
import { StatusCode } from '../../status/status-code.js';
import type { ActiveCall } from '../client-snapshot.js';
import { HedgedAttempt, type HedgeListener } from '../attempts/hedged-attempt.js';
import { withPreparation } from '../attempts/prepared-attempt.js';
import type { MethodContext } from '../call-context.js';
import { RequestPump, type PumpCallbacks } from '../requests/request-pump.js';
import { InvalidSource } from '../requests/request-source.js';
import type { ClientDrainMode, GrpcCallOptions } from '../resilient-types.js';
import { outermost, ScopedStream, type StreamMembership } from './scoped-stream.js';
import type { UnreadStream } from './unread-streams.js';
import { lostConnection, noMessage, verdictOf, type CallFacts } from '../attempts/attempt-history.js';
import { callInterceptors } from './call-arguments.js';
import { bindCall, type Endable } from './call-bindings.js';
import {
  deadlineDetails,
  draining,
  failureReason,
  failureRemedy,
  isCancelled,
  preparationFailure,
  startFailure,
  TOO_MANY_RESPONSES,
  type CallFailure,
} from '../attempts/call-failure.js';
import { CallGate, type CallGateCallbacks } from './call-gate.js';
import type { CallPlace, RegisteredCall } from './call-registry.js';
import { CallReport, reportUnread } from './call-report.js';
import { inCallerContext, currentCallerContext } from '../caller/caller-context.js';
import { describeCall } from './describe-call.js';
import { isInboundAtDeadline, sinkInContext } from './inbound-binding.js';
import { encodeRequest, prepareCall, UNPREPARED, type CallInput, type PreparedCall } from './prepare-call.js';

/** Delay in milliseconds before the completion of a stream that starts while streams are being ended. */
const COMPLETION_DELAY_MS = 100;
/** Size of gRPC's prefix of each message, in bytes. grpc-js counts the prefix against its retry buffers. */
const FRAME_HEADER_BYTES = 5;
/** `bufferedBytes` of a request that does not fit in the retry buffers. */
const NOT_BUFFERED = -1;

/** Phase of a call. 'held': before an attempt, or between two; the gate holds the call if it cannot continue immediately. */
type Phase = 'held' | 'running' | 'ended';

/** One call with all its attempts: also their listener, the entry in the registry, and the source of the stream, to allocate few objects. */
export class ClientCall
  implements CallGateCallbacks, HedgeListener, PumpCallbacks, RegisteredCall, StreamSource, UnreadStream
{
  private readonly method: MethodDescriptor;
  private readonly options: GrpcCallOptions | undefined;
  private readonly interceptors: readonly Interceptor[] | undefined;
  private phase: Phase = 'held';
  private prepared = UNPREPARED;
  private readonly report: CallReport;
  /** The caller's async context, in which the call ends. grpc-js reports OK in the context of the request that opened the connection. */
  private asyncContext!: AsyncResource;
  private gate: CallGate | undefined;
  private requests: RequestPump | undefined;
  private place: CallPlace<this> | undefined;
  private stream: ScopedStream | undefined;
  private unbind: (() => void) | undefined;
  attempt: Attempt | undefined;
  private hedged: HedgedAttempt | undefined;
  private number = 0;
  private attemptStartedAt = 0;
  /** Addresses of the endpoints on which retried attempts ran. */
  private tried: string[] | undefined;
  private hasHeaders = false;
  private reading = false;
  private hasResult = false;
  private result: unknown;
  private received = 0;
  /** Bytes of a single request that count against the retry buffers; 0 if it is not buffered, `NOT_BUFFERED` if it does not fit. */
  private bufferedBytes = 0;
  /** Arrival of the latest message of a response stream, in monotonic milliseconds; `undefined` before the first message. */
  lastMessageAt: number | undefined;
  private isStarting = false;

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
      this.phase = 'ended';
      this.sink.error(this.report.rejected(prepared));
      return;
    }
    this.prepared = prepared;
    this.register(scope);
    // Bound first, because a listener of 'call-start' may abort the signal.
    if (this.options !== undefined || prepared.binding !== undefined) this.unbind = this.bindTo(this);
    this.report.started(prepared.startedAt);
    // A listener may have ended the call.
    if (!this.isOpen()) return;
    if (this.method.requestStream && !this.openRequests()) return;
    if (prepared.outgoing === undefined) this.proceed();
    else this.runInterceptors(prepared.outgoing);
  }

  /**
   * Completes a stream that starts while streams are being ended. Delayed, because a `repeat()` around it would start it again in the same
   * turn.
   */
  private completeLater(): void {
    const { clock } = this.context.client;
    const timer = clock.setTimer(() => {
      if (this.phase === 'ended') return;
      this.phase = 'ended';
      outermost(this.part?.scope, this.sink).complete();
    }, COMPLETION_DELAY_MS);
    this.unbind = timer.clear.bind(timer);
  }

  private register(scope: StreamScope | undefined): void {
    const { registry, unread } = this.context.client;
    if (scope === undefined) {
      this.place = registry;
      if (this.sink.demand !== undefined) unread.watch(this, this.sink.demand);
    } else {
      this.stream = ScopedStream.of(scope, this.context, this.input.openedAt);
      this.place = this.stream;
      // Streams resume at a limited rate, because a server that restarts loses all its streams at once.
      if (scope.resumes > 0) this.ownGate.rateLimited = true;
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

  private runInterceptors(outgoing: NonNullable<PreparedCall['outgoing']>): void {
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
    if (completed === undefined) this.proceed();
    else this.ownGate.holdForInterceptors(completed);
  }

  // ── attempts ──

  /** Sends the next attempt, or holds the call until an attempt may be sent. */
  private proceed(): void {
    const { client, limits } = this.context;
    const { transport } = client;
    const needsGate = this.gate?.rateLimited === true || limits.length > 0 || !transport.ready;
    if (needsGate || transport.readBarrier.isDue) this.ownGate.pass();
    else this.admitted();
  }

  inContext<T>(work: () => T): T {
    return this.asyncContext.runInAsyncScope(() => inCallerContext(this.report.origin, work));
  }

  private get ownGate(): CallGate {
    return (this.gate ??= new CallGate(this.context, this.prepared, this));
  }

  admitted(): void {
    const { prepared } = this;
    this.phase = 'running';
    this.hasHeaders = false;
    // The transport enforces the deadline of an attempt, except while interceptors hold it.
    if (prepared.interceptors === undefined && prepared.outgoing === undefined) this.gate?.relaxDeadline();
    else this.ownGate.enforceDeadline();
    if (this.hedged !== undefined) {
      this.hedged.resume();
      return;
    }
    this.number += 1;
    this.stream?.onAttemptStart();
    // A listener of 'stream-resumed' may have ended the call.
    if (!this.isOpen()) return;
    this.attemptStartedAt = this.context.client.clock.now();
    this.reading = true;
    try {
      this.startAttempt();
    } catch (error) {
      // Possible causes: an open circuit, an interceptor that throws, metadata from another library.
      this.end(startFailure(error));
    }
  }

  private startAttempt(): void {
    const { context, prepared, options, number, tried } = this;
    const { client, method, hedging, maxReceiveBytes } = context;
    const { deadline, interceptors, outgoing, binding } = prepared;
    const metadata = number === 1 ? prepared.metadata : attemptMetadata(prepared.metadata, number);
    const mayRepeat = options?.retry !== false && (options?.idempotent ?? context.isSafeToRepeat);
    const request: AttemptRequest = {
      method,
      deadline,
      metadata,
      options,
      interceptors,
      number,
      mayRepeat,
      maxReceiveBytes,
      telemetry: this.report.telemetry,
      tried,
    };
    if (mayRepeat && this.bufferedBytes === 0 && this.requests === undefined) this.bufferRequest();
    const start = options === undefined && outgoing === undefined ? context.start : this.ownStages(outgoing);
    let attempt: Attempt;
    if (hedging !== undefined && mayRepeat && this.bufferedBytes !== NOT_BUFFERED) {
      const startOne: StartAttempt = (one, listener) => this.inContext(() => start(one, listener));
      this.hedged = new HedgedAttempt(hedging, client, request, this, startOne, binding?.inRetryChain ?? false);
      attempt = this.hedged;
    } else {
      this.isStarting = interceptors !== undefined;
      try {
        attempt = start(request, this);
      } finally {
        this.isStarting = false;
      }
    }
    if (!this.isOpen()) {
      attempt.abandon();
      return;
    }
    this.attempt = attempt;
    if (this.requests !== undefined) {
      attempt.startRead();
      this.requests.attemptBegan(attempt);
      return;
    }
    attempt.send(prepared.payload);
    attempt.halfClose();
    attempt.startRead();
  }

  /** Returns the function that starts the attempts of a call that overrides a timeout of its method or is intercepted. */
  private ownStages(outgoing: PreparedCall['outgoing']): StartAttempt {
    const { context } = this;
    const { client, attemptInterceptors } = context;
    const { streamIdleTimeoutMs } = this.options ?? {};
    const stages = streamIdleTimeoutMs === undefined ? context.start : context.startWithin(streamIdleTimeoutMs);
    if (outgoing === undefined || attemptInterceptors === undefined) return stages;
    return withPreparation(stages, outgoing, attemptInterceptors, client, this);
  }

  /** Counts a single request against the retry buffers, as grpc-js does. */
  private bufferRequest(): void {
    const bytes = FRAME_HEADER_BYTES + this.prepared.bytes;
    this.bufferedBytes = this.context.client.replayLimits.take(bytes, 0) ? bytes : NOT_BUFFERED;
  }

  private dropRequest(): void {
    if (this.bufferedBytes > 0) this.context.client.replayLimits.release(this.bufferedBytes);
    this.bufferedBytes = 0;
  }

  resumeReading(): void {
    if (this.phase !== 'running' || this.reading) return;
    this.reading = true;
    this.attempt?.startRead();
  }

  onHeaders(headers: ResponseHeaders): void {
    if (this.phase !== 'running') return;
    this.hasHeaders = true;
    this.report.telemetry?.answered?.(headers.metadata);
    if (this.method.responseStream) {
      const { transport, clock } = this.context.client;
      this.requests?.commit();
      this.dropRequest();
      // The duration of a stream does not show the health of a server, but the time to its headers does.
      const now = clock.now();
      transport.answered(undefined, this.method.path);
      this.gate?.reportReleased(now - this.attemptStartedAt);
      this.context.statistics.answered(now - this.prepared.startedAt, now);
    }
    const onHeaders = this.options?.onHeaders;
    if (onHeaders !== undefined) notifyListener(onHeaders, headers.metadata);
  }

  onMessage(message: unknown): void {
    if (this.phase !== 'running') return;
    this.reading = false;
    this.received += 1;
    if (this.method.responseStream) {
      this.lastMessageAt = this.context.client.clock.now();
      if (this.sink.next(message) !== false) this.resumeReading();
    } else if (this.hasResult) {
      this.attempt?.cancel('protocol', StatusCode.UNIMPLEMENTED, TOO_MANY_RESPONSES);
    } else {
      // A single response is kept until its status arrives. Reading continues, because a second response must make the call fail.
      this.hasResult = true;
      this.result = message;
      this.resumeReading();
    }
  }

  onEnd(end: AttemptEnd): void {
    if (this.phase !== 'running') return;
    const isAnswer = end.code === StatusCode.OK && (this.method.responseStream || this.hasResult);
    // eslint-disable-next-line @typescript-eslint/unbound-method -- called with `this`; a closure would be created for each call
    this.asyncContext.runInAsyncScope(isAnswer ? this.succeeded : this.attemptFailed, this, end);
  }

  private attemptFailed(end: AttemptEnd): void {
    const verdict = end.code === StatusCode.OK ? noMessage(end) : verdictOf(end);
    if (end.cause instanceof CircuitOpenError) {
      this.cannotStart(end.cause);
      return;
    }
    const { report, context, hedged } = this;
    const { transport, clock } = context.client;
    if (hedged !== undefined) this.adoptHedged(hedged);
    this.attempt = undefined;
    this.requests?.attemptEnded();
    this.hasResult = false;
    this.result = undefined;
    if (isAnswered(end, verdict)) transport.answered(undefined, this.method.path);
    const latencyMs = clock.now() - this.attemptStartedAt;
    this.gate?.attemptEnded(permitOutcome(verdict), latencyMs);
    // In the phase 'held', `end()` does not report the deadline to the retry budget, because a timeout of an unsent attempt is no evidence
    // about the server.
    if (end.unsentBecause !== undefined) this.phase = 'held';
    this.gate?.reportReleased(end.unsentBecause === undefined ? 'failed' : 'cancelled');
    const { decision, retryAfterMs } =
      hedged === undefined
        ? report.history.judge(context, end, verdict, this.factsOf(end, verdict))
        : report.history.judgeHedged(end, verdict, hedged);
    if (decision.retry) this.noteTried(end.peer);
    if (decision.retry) report.telemetry?.nextIs(decision.kind === 'policy' ? 'retry' : 'transparent-retry');
    if (decision.retry && decision.kind === 'wait') {
      // The attempt was not sent, or the server did not process it, so it does not count.
      this.number -= 1;
      this.phase = 'held';
      this.ownGate.holdForChannel();
      return;
    }
    report.history.add(this.number, end, verdict, latencyMs);
    const stream = decision.retry || !this.method.responseStream ? undefined : outermost(this.part?.scope, undefined);
    if (stream === undefined) report.attemptEnded(verdict, decision.retry ? 'retry' : 'none', decision.because);
    if (!this.isOpen()) return;
    const ageMs = clock.now() - this.startedAt;
    const failure: CallFailure = {
      code: verdict.code,
      details: verdict.kind === 'deadline' ? deadlineDetails(end, this.number, latencyMs, ageMs) : verdict.details,
      reason: failureReason(verdict),
      remedy: failureRemedy(verdict, transport.doctorCommand) ?? end.remedy,
      // Absent for a failure that is retried, because a later result replaces it. A failed attempt never has the reason 'success'.
      notRetriedBecause: decision.retry || decision.because === 'success' ? undefined : decision.because,
      metadata: end.metadata,
      peer: end.peer,
      retryAfterMs,
      cause: end.cause,
    };
    if (decision.retry) {
      context.statistics.retried += 1;
      this.phase = 'held';
      // Calls that were lost with a connection are resent at a limited rate, because there may be hundreds of them.
      this.ownGate.rateLimited = lostConnection(end, verdict) !== undefined;
      this.ownGate.holdForBackoff(decision.delayMs, failure);
      return;
    }
    this.end(failure);
    // Reported last, because the end of the call determines whether its stream resumes.
    if (stream !== undefined) report.attemptEnded(verdict, stream.isOver ? 'none' : 'resume', decision.because);
  }

  /** Makes the next attempt avoid the endpoint at `peer`. The picker may have added the endpoint already. */
  private noteTried(peer: string | undefined): void {
    if (peer !== undefined && this.tried?.includes(peer) !== true) (this.tried ??= []).push(peer);
  }

  private factsOf(end: AttemptEnd, { reachedServer }: Verdict): CallFacts {
    // A single request is in memory while its call runs. If no server application has received it, it can be resent regardless of size.
    const replayable = this.requests?.replayable ?? (this.bufferedBytes !== NOT_BUFFERED || reachedServer === 'no');
    return {
      options: this.options,
      deadline: this.deadline,
      attempts: this.number,
      requestReplayable: replayable,
      delivered: end.headersReceived && (this.method.responseStream || this.options?.onHeaders !== undefined),
      inRetryChain: this.prepared.binding?.inRetryChain ?? false,
      isPartOfStream: this.part !== undefined,
    };
  }

  // ── hedged attempts ──

  needChannel(): void {
    this.phase = 'held';
    this.ownGate.rateLimited = true;
    this.ownGate.holdForChannel();
  }

  cannotStart(error: unknown): void {
    this.attempt = undefined;
    this.end(startFailure(error));
  }

  hedgeFailed(number: number, end: AttemptEnd, verdict: Verdict, durationMs: number, because: AttemptEndReason): void {
    const { history } = this.report;
    history.note(end, verdict);
    history.add(number, end, verdict, durationMs, true);
    this.gate?.attemptEnded(permitOutcome(verdict), durationMs);
    this.report.attemptEnded(verdict, 'retry', because);
  }

  attemptResent(end: AttemptEnd, verdict: Verdict): void {
    this.report.history.note(end, verdict);
  }

  private adoptHedged(hedged: HedgedAttempt): void {
    this.hedged = undefined;
    this.number = hedged.number;
    this.attemptStartedAt = hedged.decisiveStartedAt;
  }

  // ── the end ──

  private succeeded(end: AttemptEnd): void {
    const { transport, budget, clock } = this.context.client;
    const { responseStream, path } = this.method;
    const now = clock.now();
    if (this.hedged !== undefined) this.adoptHedged(this.hedged);
    const latencyMs = now - this.attemptStartedAt;
    transport.answered(responseStream ? undefined : latencyMs, path);
    this.gate?.attemptEnded('succeeded', latencyMs);
    this.gate?.reportReleased(latencyMs);
    budget.current.onSuccess(now);
    // The latency of a stream was recorded when its headers arrived.
    const isAnswer = !responseStream || !this.hasHeaders;
    // The end is counted before the call releases its resources, because the release may run other calls. The end is reported afterward.
    this.context.statistics.succeeded(isAnswer ? now - this.prepared.startedAt : undefined, now);
    this.phase = 'ended';
    this.attempt = undefined;
    this.releaseResources('succeeded');
    this.report.succeeded(this.number, end, latencyMs);
    if (this.hasResult) this.sink.next(this.result);
    this.sink.complete();
  }

  /** Fails the call. Has no effect if the call has ended. */
  end(reason: CallFailure): void {
    if (this.phase === 'ended') return;
    const { report, attempt } = this;
    const { clock, budget } = this.context.client;
    const now = clock.now();
    const failure = { ...reason, peer: reason.peer ?? attempt?.peer };
    if (attempt !== undefined && this.hedged === undefined && attempt.unsentBecause === undefined) {
      report.history.add(this.number, failure, failure, now - this.attemptStartedAt);
    }
    const isDeadline = failure.reason === 'deadline';
    if (isDeadline && this.phase === 'running' && !this.hasHeaders && this.unsentBecause === undefined)
      budget.current.onDeadline(now, this.attemptStartedAt);
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
    if (this.hedged !== undefined) return this.hedged.reached;
    // An interceptor that ends the call while it starts may have sent it.
    if (this.isStarting) return 'maybe';
    if (this.attempt === undefined || this.unsentBecause !== undefined) return 'no';
    return this.hasHeaders ? 'yes' : 'maybe';
  }

  /** Cancels the call, because the reader unsubscribed. */
  unsubscribe(): void {
    if (this.phase === 'ended') return;
    // A stream that `completeLater` holds is not registered, and was not counted as started.
    if (this.place !== undefined) this.context.statistics.cancelled += 1;
    this.stop('cancelled', this.hasInboundTimedOut() ? 'deadline' : undefined);
    this.report.cancelled('The reader unsubscribed');
  }

  sourceFailed(error: unknown): void {
    if (this.phase === 'ended') return;
    this.context.statistics.sourceFailed();
    this.stop('failed');
    this.report.cancelled('The request source failed');
    this.sink.error(error);
  }

  complete(): void {
    if (this.phase === 'ended') return;
    const peer = this.attempt?.peer;
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
    return this.hedged === undefined ? (this.gate?.failBackoff(until) ?? false) : this.hedged.failHeld(until);
  }

  private hasInboundTimedOut(): boolean {
    return !this.hasHeaders && isInboundAtDeadline(this.prepared, this.context.client.clock);
  }

  private stop(outcome: StreamOutcome, because?: 'deadline'): void {
    const { attempt } = this;
    this.phase = 'ended';
    this.gate?.dequeue();
    this.attempt = undefined;
    if (attempt !== undefined) {
      this.gate?.attemptInterrupted(attempt, this.hedged?.decisiveStartedAt ?? this.attemptStartedAt, because);
      this.context.client.registry.abandon(attempt, because);
    }
    this.gate?.reportReleased('cancelled');
    this.releaseResources(outcome);
  }

  private releaseResources(outcome: StreamOutcome): void {
    if (this.bufferedBytes !== 0) this.dropRequest();
    this.gate?.close();
    this.unbind?.();
    this.unbind = undefined;
    this.requests?.close();
    if (this.sink.demand !== undefined) this.context.client.unread.forget(this);
    this.place?.delete(this, outcome);
  }

  // ── state for callers and the registry ──

  /** True if the call has not ended. Callers, interceptors, and listeners may end it during any callback. */
  isOpen(): boolean {
    return this.phase !== 'ended';
  }

  /** Binds `call` to the abort signal, the inbound call, and the `parent` of this call. Returns the function that unbinds it, if any. */
  bindTo(call: Endable): (() => void) | undefined {
    return bindCall(this.options, this.prepared.binding?.signal, call);
  }

  waited(outcome: WaitEnd, waitedMs: number): void {
    this.report.waited(outcome, waitedMs);
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
    return this.attempt?.peer;
  }

  get unsentBecause(): string | undefined {
    return this.attempt?.unsentBecause;
  }

  get sent(): number {
    return this.requests?.sent ?? Math.min(this.number, 1);
  }

  get waiting(): boolean {
    return this.gate?.isWaiting ?? false;
  }

  get onDrain(): ClientDrainMode {
    if (!this.method.responseStream) return 'finish';
    return this.context.policy.onDrain ?? (this.part === undefined ? 'finish' : 'complete');
  }

  describe(): ActiveCall {
    const { peer, startedAt, lastMessageAt, sent, received, waiting } = this;
    const { openedAt } = this.input;
    const stalledBy = this.attempt?.obstacle;
    const state = { peer, startedAt, lastMessageAt, sent, received, waiting, stalledBy, openedAt };
    return describeCall(this.context, state, this);
  }
}
