import type { Metadata } from '@grpc/grpc-js';
import type { Attempt, AttemptEnd, AttemptListener, AttemptRequest } from '../../call/attempt.js';
import type { AttemptEndReason } from '../../call/call-event.js';
import { attemptMetadata } from '../../channel/wire/call-metadata.js';
import { CircuitOpenError } from '../../errors/operator-errors.js';
import type { NotRetriedReason } from '../../errors/grpc-call-error.js';
import { permitOutcome } from '../../policy/concurrency/adaptive-limit.js';
import { isAnswered, type Verdict } from '../../policy/evidence/classify.js';
import { continuedBecause, notHedgedBecause, type HedgeDecision } from '../../policy/hedging/decide-hedge.js';
import { HEDGE_MARK, RETRY_CHAIN_KEY } from '../../policy/retry/decide-retry.js';
import { StatusCode } from '../../status/status-code.js';
import type { Hedging, MethodContext } from '../call-context.js';
import {
  deadlineDetails,
  failureReason,
  failureRemedy,
  preparationFailure,
  startFailure,
  type CallFailure,
} from '../attempts/call-failure.js';
import { Hedges } from '../attempts/hedges.js';
import { RunningAttempt, unsentEnd } from '../attempts/running-attempt.js';
import { lostConnection, noMessage, verdictOf, type CallFacts } from '../attempts/attempt-history.js';
import { prepareAttempt, type PendingMetadata } from '../interceptors/call-hooks.js';
import { OnceAttempts, type AttemptJudgment } from '../once/once-attempts.js';
import type { RequestPump } from '../requests/request-pump.js';
import type { GrpcCallOptions } from '../resilient-types.js';
import { CallGate, type Admitted } from './call-gate.js';
import type { CallReport } from './call-report.js';
import type { PreparedCall } from './prepare-call.js';

/** Size of gRPC's prefix of each message, in bytes. grpc-js counts the prefix against its retry buffers. */
const FRAME_HEADER_BYTES = 5;
/** `bufferedBytes` of a request that does not fit in the retry buffers. */
const NOT_BUFFERED = -1;

/** The call whose attempts a runner runs. It receives the headers, the messages, and the end of the attempt that decides it. */
export interface RunnerCall extends AttemptListener {
  /** True if the call is part of a stream that consists of several calls. */
  readonly isPartOfStream: boolean;
  /** Messages of a request stream; `undefined` for a single request. */
  readonly requests: RequestPump | undefined;
  isOpen(): boolean;
  inContext<T>(work: () => T): T;
  /** Called before the first attempt, and before each that follows the failure of all others. May end the call. */
  attemptBegins(): void;
  /** Called when another attempt follows the one that `onEnd` reported. */
  attemptFailed(): void;
  /** Called when no attempt follows. `wasSent` is false if no part of the last attempt was sent. */
  failed(failure: CallFailure, verdict: Verdict, because: NotRetriedReason | 'success', wasSent: boolean): void;
  /** Called when the call must not continue. */
  end(failure: CallFailure): void;
}

/** Failure of an attempt of a hedged call that is reported when the next attempt is sent, because the call may still end with it. */
interface HeldFailure {
  readonly run: RunningAttempt;
  readonly end: AttemptEnd;
  readonly verdict: Verdict;
  readonly durationMs: number;
  readonly because: AttemptEndReason;
}

/** No attempts beside the one that decides the call. Never changed. */
const NO_RIVALS: Set<RunningAttempt> = new Set();

/**
 * Runs the attempts of one call: waits until an attempt may be sent, prepares its metadata, starts it, and decides what follows its end.
 * Most calls have one attempt at a time. A hedged call has several, until the first that receives response headers, succeeds, or ends with a
 * fatal status decides the call, and the others are cancelled.
 */
export class CallRunner implements Admitted {
  /** Number of the attempt that decides the call; before that, of the latest. */
  number = 0;
  /** Start of that attempt, in monotonic milliseconds. */
  startedAt = 0;
  /** True if another attempt may follow even if the server has received this one. */
  private mayRepeat: boolean;
  /** True if the attempts of a hedged call continue without further hedges, and then one at a time, because a server has refused one. */
  private goesOnAlone = false;
  /** The attempts of a call with a key; `undefined` if the call has none, or its servers are without the feature. */
  private once: OnceAttempts | undefined;
  private gate: CallGate | undefined;
  /** The attempt that decides the call: the only one, or the one that won. */
  current: RunningAttempt | undefined;
  private hedges: Hedges | undefined;
  /** Attempts of a hedged call before one of them decides it. */
  private rivals = NO_RIVALS;
  /** Failure of the only attempt of a hedged call, during the delay before the next one. */
  private held: HeldFailure | undefined;
  /** Attempt that waits for a free stream with its metadata, which is not prepared again. */
  private awaitsStream: { readonly run: RunningAttempt; readonly metadata: Metadata } | undefined;
  /** True if an attempt of a hedged call has been decided on, and waits for the channel. */
  private isDue = false;
  /** True while grpc-js's interceptors start an attempt. */
  private isStarting = false;
  /** Failure that the next attempt replaces, during the backoff before it. */
  private replaced: CallFailure | undefined;
  /** Addresses of the endpoints on which attempts ran that another one replaces. */
  private tried: string[] | undefined;
  /** Bytes of a single request that count against the retry buffers; 0 if it is not buffered, `NOT_BUFFERED` if it does not fit. */
  private bufferedBytes = 0;

  constructor(
    private readonly context: MethodContext,
    private readonly prepared: PreparedCall,
    private readonly options: GrpcCallOptions | undefined,
    private readonly report: CallReport,
    readonly call: RunnerCall,
  ) {
    const { onceKey: key } = prepared;
    if (key !== undefined && context.once?.takesKeys(options?.onceKey !== undefined) === true)
      this.once = report.once = new OnceAttempts(context.once, key, prepared.deadline, context.client);
    const isSafe = this.once !== undefined || (options?.idempotent ?? context.isSafeToRepeat);
    this.mayRepeat = options?.retry !== false && isSafe;
  }

  // ── waiting ──

  /** Sends the next attempt, or holds the call until an attempt may be sent. */
  proceed(): void {
    const { client, limits } = this.context;
    const { transport } = client;
    const needsGate = this.gate?.rateLimited === true || limits.length > 0 || !transport.ready;
    if (needsGate || transport.readBarrier.isDue) this.ownGate.pass();
    else this.admitted();
  }

  /** Like `proceed()`, once the interceptors of the call have completed. */
  proceedAfter(interceptors: Promise<void>): void {
    this.ownGate.holdForInterceptors(interceptors);
  }

  /** Makes the next attempt wait for its turn even while the channel is ready. */
  limitRate(): void {
    this.ownGate.rateLimited = true;
  }

  get isWaiting(): boolean {
    return this.gate?.isWaiting ?? false;
  }

  /** Fails the call, and returns true, if it is held for a retry that is due at `until` (monotonic milliseconds) or later. */
  failBackoff(until: number): boolean {
    const { hedges, held, replaced } = this;
    if (hedges !== undefined) {
      if (held === undefined || hedges.dueAt < until) return false;
      hedges.because = 'draining';
      this.finish(hedges, held.run, held.end);
      return true;
    }
    if (replaced === undefined || (this.gate?.backoffEndsAt ?? 0) < until) return false;
    this.call.end({ ...replaced, notRetriedBecause: 'draining' });
    return true;
  }

  private get ownGate(): CallGate {
    return (this.gate ??= new CallGate(this.context, this.prepared, this.call, this.report, this));
  }

  // ── the start of an attempt ──

  admitted(): void {
    const { prepared, awaitsStream, call } = this;
    this.replaced = undefined;
    // The transport enforces the deadline of an attempt, except while interceptors hold it.
    if (prepared.interceptors === undefined && prepared.outgoing === undefined) this.gate?.relaxDeadline();
    else this.ownGate.enforceDeadline();
    if (awaitsStream !== undefined) {
      this.awaitsStream = undefined;
      this.start(awaitsStream.run, awaitsStream.metadata);
      return;
    }
    if (this.hedges === undefined) {
      call.attemptBegins();
      // A listener of 'stream-resumed' may have ended the call.
      if (!call.isOpen()) return;
      if (this.mayRepeat && this.bufferedBytes === 0 && call.requests === undefined) this.bufferRequest();
      const { hedging } = this.context;
      // An attempt that asks for the scope is not hedged, because the next one is sent at once.
      const mayHedge = this.mayRepeat && this.bufferedBytes !== NOT_BUFFERED && this.once?.namesStore !== false;
      if (hedging !== undefined && mayHedge) this.hedges = this.hedge(hedging);
    }
    const { hedges } = this;
    if (hedges === undefined) {
      this.current = new RunningAttempt(this, this.number + 1, this.context.client.clock.now(), false);
      this.begin(this.current);
    } else if (this.isDue) {
      this.isDue = false;
      hedges.hasWaited();
      this.beginHedge(hedges);
      this.schedule(hedges);
    } else this.act(hedges, hedges.due());
  }

  private hedge(hedging: Hedging): Hedges {
    const { deadline, binding } = this.prepared;
    this.rivals = new Set();
    this.tried = [];
    return new Hedges(hedging, this.context.client, deadline, binding?.inRetryChain ?? false);
  }

  /** Starts an attempt when its metadata is complete. */
  private begin(run: RunningAttempt): void {
    this.number = run.number;
    this.startedAt = run.startedAt;
    const { metadata: shared, outgoing, deadline } = this.prepared;
    const { attemptInterceptors } = this.context;
    if (outgoing === undefined || attemptInterceptors === undefined) {
      this.start(run, shared);
      return;
    }
    let metadata: Metadata | PendingMetadata;
    try {
      metadata = prepareAttempt(outgoing, run.number, deadline, attemptInterceptors);
    } catch (error) {
      this.notPrepared(run, error);
      return;
    }
    if (!('waitsFor' in metadata)) {
      // An interceptor or the metadata function may have ended the call.
      if (this.runs(run)) this.metadataReady(run, metadata);
      return;
    }
    run.pending = metadata;
    metadata.metadata.then(
      (ready) => {
        if (this.runs(run)) this.metadataReady(run, ready);
      },
      (error: unknown) => {
        this.notPrepared(run, error);
      },
    );
  }

  private metadataReady(run: RunningAttempt, metadata: Metadata): void {
    const { transport } = this.context.client;
    run.pending = undefined;
    if (transport.ready) {
      this.start(run, metadata);
    } else if (!transport.isConnected || this.rivals.size > 1) {
      // While other attempts are in flight, an attempt does not wait.
      run.onEnd(unsentEnd(StatusCode.UNAVAILABLE, 'The connection was lost before the call was sent'));
    } else {
      this.awaitsStream = { run, metadata };
      this.ownGate.holdForStream();
    }
  }

  private notPrepared(run: RunningAttempt, error: unknown): void {
    const { code, details } = preparationFailure(error);
    run.onEnd({ ...unsentEnd(code, details), channelReady: true, endedHere: 'not-prepared', cause: error });
  }

  private start(run: RunningAttempt, metadata: Metadata): void {
    const { context, prepared, options, call, once } = this;
    const { deadline, interceptors, payload } = prepared;
    const streamIdleTimeoutMs = options?.streamIdleTimeoutMs;
    let attempt: Attempt;
    this.isStarting = interceptors !== undefined;
    try {
      const request: AttemptRequest = {
        method: once === undefined ? context.method : once.method,
        deadline,
        metadata: run.number === 1 ? metadata : this.metadataOf(run, metadata),
        fields: once?.fields,
        options,
        interceptors,
        number: run.number,
        mayRepeat: this.mayRepeat,
        maxReceiveBytes: context.maxReceiveBytes,
        telemetry: this.report.telemetry,
        tried: this.tried,
      };
      const stages = streamIdleTimeoutMs === undefined ? context.start : context.startWithin(streamIdleTimeoutMs);
      attempt = stages(request, run);
      this.isStarting = false;
    } catch (error) {
      // Possible causes: an open circuit, an interceptor that throws, metadata from another library.
      this.isStarting = false;
      this.refused(run, error);
      return;
    }
    // The call may have ended, or the attempt.
    if (this.current !== run && !this.rivals.has(run)) {
      attempt.abandon();
      return;
    }
    run.attempt = attempt;
    const { requests } = call;
    if (requests === undefined) {
      attempt.send(payload);
      attempt.halfClose();
      attempt.startRead();
    } else {
      attempt.startRead();
      requests.attemptBegan(attempt);
    }
  }

  /** Returns the metadata of an attempt after the first one. */
  private metadataOf({ number, othersAreSlow }: RunningAttempt, metadata: Metadata): Metadata {
    const numbered = this.prepared.outgoing === undefined ? attemptMetadata(metadata, number) : metadata;
    if (!othersAreSlow || numbered.get(RETRY_CHAIN_KEY).length > 0) return numbered;
    // Such an attempt has an attempt count, as a retry does, but replaces no failed attempt, so the server may retry its own calls. If the
    // call itself serves a retry, the attempt keeps the mark of that.
    const marked = numbered.clone();
    marked.set(RETRY_CHAIN_KEY, HEDGE_MARK);
    return marked;
  }

  /** Handles an attempt that could not be started. */
  private refused(run: RunningAttempt, error: unknown): void {
    if (!this.runs(run)) return;
    this.rivals.delete(run);
    this.current = undefined;
    // The attempts in flight continue.
    if (this.rivals.size > 0) this.hedges?.refuse(error instanceof CircuitOpenError ? 'circuit-open' : 'local');
    else this.call.end(startFailure(error));
  }

  // ── the events of an attempt ──

  /** Called with the end of an attempt before one of them decides the call. */
  rivalEnded(run: RunningAttempt, end: AttemptEnd): void {
    const { hedges } = this;
    if (hedges === undefined || !this.rivals.delete(run)) return;
    // Another attempt may start.
    this.call.inContext(() => {
      this.hedgeEnded(hedges, run, end);
    });
  }

  /** gRFC A6 commits a call to the first attempt that receives headers. */
  rivalAnswered(run: RunningAttempt): void {
    if (!this.rivals.delete(run)) return;
    this.hedges?.measure(run.number, run.startedAt, true);
    this.decide(run);
  }

  startRead(): void {
    this.current?.attempt?.startRead();
  }

  cancel(why: AttemptEnd['endedHere'], code: number, details: string): void {
    this.current?.attempt?.cancel(why, code, details);
  }

  /** Reports that the headers of a stream arrived. Its duration does not show the health of the server, but the time to its headers does. */
  streamAnswered(now: number): void {
    this.dropRequest();
    this.gate?.reportReleased(now - this.startedAt);
  }

  // ── what follows ──

  /** Releases what a call holds that has succeeded. Other calls may run. */
  succeeded(latencyMs: number): void {
    this.current = undefined;
    this.gate?.attemptEnded('succeeded', latencyMs);
    this.gate?.reportReleased(latencyMs);
    if (this.bufferedBytes !== 0) this.dropRequest();
    this.gate?.close();
  }

  /** Decides what follows the failure of the attempt that decides the call. */
  failed(end: AttemptEnd): void {
    const { report, context, hedges, call } = this;
    const { transport, clock } = context.client;
    const classified = end.code === StatusCode.OK ? noMessage(end) : verdictOf(end);
    const judged = this.once?.judge(end, classified);
    const verdict = judged?.verdict ?? classified;
    this.current = undefined;
    call.attemptFailed();
    if (isAnswered(end, verdict)) transport.answered(undefined, context.method.path);
    const latencyMs = clock.now() - this.startedAt;
    const wasSent = end.unsentBecause === undefined;
    this.gate?.attemptFailed(verdict, wasSent ? classified : undefined, latencyMs);
    const byKey = judged && this.once?.follow(end, judged);
    if (judged?.decision === 'plain') {
      this.once = report.once = undefined;
      this.mayRepeat &&= this.options?.idempotent ?? context.isSafeToRepeat;
    }
    if (byKey?.retry === true) this.hedges = undefined;
    const decided = byKey ?? (hedges && { retry: false as const, because: notHedgedBecause(hedges.because) });
    const { decision, retryAfterMs } =
      decided === undefined
        ? report.history.judge(context, end, verdict, this.factsOf(end, verdict))
        : report.history.decided(end, verdict, decided, hedges?.cutOthersOff);
    if (decision.retry) {
      // The next attempt names the store of this endpoint.
      if (judged?.decision !== 'rescope') this.noteTried(end.peer);
      report.telemetry?.nextIs(decision.kind === 'policy' ? 'retry' : 'transparent-retry');
    }
    if (decision.retry && decision.kind === 'wait') {
      // The attempt was not sent, or the server did not process it, so it does not count.
      this.number -= 1;
      this.ownGate.holdForChannel();
      return;
    }
    report.history.add(this.number, end, verdict, latencyMs);
    const ageMs = clock.now() - this.prepared.startedAt;
    const shown = judged?.shown ?? verdict;
    const failure: CallFailure = {
      code: shown.code,
      details: shown.kind === 'deadline' ? deadlineDetails(end, this.number, latencyMs, ageMs) : shown.details,
      reason: judged?.isInDoubt === true ? 'in-doubt' : failureReason(shown),
      remedy: failureRemedy(shown, transport.doctorCommand) ?? end.remedy,
      // Absent for a failure that is retried, because a later result replaces it. A failed attempt never has the reason 'success'.
      notRetriedBecause: decision.retry || decision.because === 'success' ? undefined : decision.because,
      metadata: end.metadata,
      peer: end.peer,
      retryAfterMs,
      cause: end.cause,
    };
    if (!decision.retry) {
      call.failed(failure, verdict, decision.because, wasSent);
      return;
    }
    report.attemptEnded(verdict, 'retry', decision.because);
    if (!call.isOpen()) return;
    context.statistics.retried += 1;
    // Calls that were lost with a connection are resent at a limited rate, because there may be hundreds of them.
    this.ownGate.rateLimited = lostConnection(end, verdict) !== undefined;
    this.replaced = failure;
    // A wait for another process does not count as an attempt.
    if (byKey !== undefined) this.number -= 1;
    this.ownGate.holdForBackoff(decision.delayMs);
  }

  /** Makes the next attempt avoid the endpoint at `peer`. The picker may have added the endpoint already. */
  private noteTried(peer: string | undefined): void {
    if (peer !== undefined && this.tried?.includes(peer) !== true) (this.tried ??= []).push(peer);
  }

  private factsOf(end: AttemptEnd, { reachedServer }: Verdict): CallFacts {
    const { call, options, prepared } = this;
    // A single request is in memory while its call runs. If no server application has received it, it can be resent regardless of size.
    const replayable = call.requests?.replayable ?? (this.bufferedBytes !== NOT_BUFFERED || reachedServer === 'no');
    return {
      options,
      deadline: prepared.deadline,
      attempts: this.number,
      requestReplayable: replayable,
      delivered: end.headersReceived && (this.context.method.responseStream || options?.onHeaders !== undefined),
      inRetryChain: prepared.binding?.inRetryChain ?? false,
      hasKey: this.once !== undefined,
      isPartOfStream: call.isPartOfStream,
    };
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

  // ── hedging ──

  private hedgeEnded(hedges: Hedges, run: RunningAttempt, end: AttemptEnd): void {
    const { rivals, call } = this;
    const { clock, registry } = this.context.client;
    const classified = verdictOf(end);
    const judged = this.once?.judge(end, classified);
    const verdict = judged?.verdict ?? classified;
    hedges.measure(run.number, run.startedAt, verdict.kind === 'ok');
    if (verdict.kind === 'local' && rivals.size > 0) {
      // The attempt could not be sent. The attempts in flight continue.
      hedges.refuse('local');
      return;
    }
    if (judged !== undefined && judged.decision !== 'by-policy' && judged.decision !== 'refused') {
      this.hedgeDecidedByKey(hedges, run, end, judged);
      return;
    }
    if (judged !== undefined) this.once?.note(end, judged);
    const decision = hedges.ended(run.number, end, verdict);
    if (decision.action === 'resend') {
      this.report.history.note(end, verdict);
      // If no attempt is in flight, the call is resent at a limited rate, like other calls that lost their connection.
      if (rivals.size === 0) this.holdHedge();
      else this.beginHedge(hedges);
      this.schedule(hedges);
      return;
    }
    if (decision.action === 'fail' && this.goesOnAlone && rivals.size === 0) {
      this.decide(run);
      this.hedges = undefined;
      call.onEnd(end);
      return;
    }
    if (decision.action === 'win' || decision.action === 'fail') {
      hedges.because = decision.because;
      this.finish(hedges, run, end);
      return;
    }
    const because = continuedBecause(decision.because);
    const durationMs = clock.now() - run.startedAt;
    this.gate?.attemptEnded(permitOutcome(verdict), durationMs);
    this.held = { run, end, verdict, durationMs, because };
    if (decision.action === 'send' || rivals.size > 0) this.reportHeld();
    if (!call.isOpen()) return;
    this.act(hedges, decision);
    this.failBackoff(registry.drainUntil);
  }

  private hedgeDecidedByKey(hedges: Hedges, run: RunningAttempt, end: AttemptEnd, judged: AttemptJudgment): void {
    const isEnd = judged.decision === 'final' || judged.decision === 'in-doubt';
    if (!isEnd && this.rivals.size > 0) {
      // The attempts in flight continue: one of them may run the handler, so that none may be sent to another store beside it.
      this.once?.note(end, { ...judged, decision: 'by-policy' });
      hedges.refuse('local');
      this.goesOnAlone = true;
      return;
    }
    // Without the others, the call goes on one attempt at a time.
    hedges.cutOthersOff = this.isSent;
    this.decide(run);
    if (!isEnd) this.hedges = undefined;
    this.call.onEnd(end);
  }

  private act(hedges: Hedges, { action, because }: HedgeDecision): void {
    const { held } = this;
    if (action === 'fail' && held !== undefined) {
      // The next attempt was not permitted when it was due, and no other attempt is in flight.
      hedges.because = because;
      this.finish(hedges, held.run, held.end);
      return;
    }
    if (action === 'send') {
      this.reportHeld();
      this.beginHedge(hedges);
    }
    this.schedule(hedges);
  }

  /** Reports the held failure, which another attempt replaces. The call may end. */
  private reportHeld(): void {
    const { held, report } = this;
    this.held = undefined;
    if (held === undefined || held.verdict.kind === 'unsent') return;
    const { run, end, verdict, durationMs, because } = held;
    report.history.note(end, verdict);
    report.history.add(run.number, end, verdict, durationMs, true);
    report.attemptEnded(verdict, 'retry', because);
  }

  /**
   * Starts an attempt that was decided on. While the channel is not ready, the call waits for it if no attempt is in flight; otherwise, the
   * attempt is dropped, because the others may still receive a response.
   */
  private beginHedge(hedges: Hedges): void {
    const { call, rivals } = this;
    if (!call.isOpen()) return;
    const { transport, clock } = this.context.client;
    if (!transport.ready) {
      if (rivals.size === 0) this.holdHedge();
      else hedges.drop();
      return;
    }
    const number = hedges.begin();
    const { telemetry } = this.report;
    if (hedges.reason === 'unsent' || hedges.reason === 'refused') telemetry?.nextIs('transparent-retry');
    else if (number > 1) telemetry?.nextIs('hedge');
    const run = new RunningAttempt(this, number, clock.now(), hedges.reason === 'slow');
    rivals.add(run);
    this.begin(run);
  }

  private holdHedge(): void {
    this.isDue = true;
    this.hedges?.stop();
    this.limitRate();
    this.ownGate.holdForChannel();
  }

  private schedule(hedges: Hedges): void {
    hedges.stop();
    if (!this.call.isOpen() || this.current !== undefined || this.isDue || hedges.dueAt === Infinity) return;
    hedges.schedule(this.rivals.size > 0, () => {
      this.hedgeDue(hedges);
    });
  }

  private hedgeDue(hedges: Hedges): void {
    if (this.current !== undefined || !this.call.isOpen()) return;
    this.call.inContext(() => {
      this.act(hedges, hedges.due());
    });
  }

  /** Ends the call with the end of `run`. */
  private finish(hedges: Hedges, run: RunningAttempt, end: AttemptEnd): void {
    hedges.cutOthersOff = this.isSent;
    this.decide(run);
    this.call.onEnd(end);
  }

  /** Makes `run` the attempt that decides the call, and cancels the others. */
  private decide(run: RunningAttempt): void {
    this.hedges?.stop();
    if (this.once !== undefined) for (const rival of this.rivals) if (rival.isSent) this.once.noteOthers();
    this.current = run;
    this.number = run.number;
    this.startedAt = run.startedAt;
    this.held = undefined;
    if (this.awaitsStream !== undefined) this.gate?.dequeue();
    this.awaitsStream = undefined;
    this.abandonRivals();
  }

  private abandonRivals(because?: 'deadline'): void {
    const { registry } = this.context.client;
    for (const run of [...this.rivals]) {
      this.rivals.delete(run);
      this.hedges?.measure(run.number, run.startedAt, false);
      if (run.attempt !== undefined) registry.abandon(run.attempt, because);
    }
  }

  // ── the end of the call ──

  /** Records that the end of the call interrupts the running attempt with `failure`. */
  noteInterruption(failure: CallFailure & { readonly peer: string | undefined }): void {
    if (this.hedges !== undefined || !this.isSent) return;
    const durationMs = this.context.client.clock.now() - this.startedAt;
    this.report.history.add(this.number, failure, failure, durationMs);
  }

  /** Cancels what runs or waits, and releases what the call holds. */
  stop(because: 'deadline' | undefined): void {
    const { gate, current } = this;
    const { client } = this.context;
    gate?.dequeue();
    // The end of an unsent attempt is no evidence about the server.
    if (this.isSent) gate?.attemptInterrupted(client.clock.now() - this.startedAt, because);
    this.current = undefined;
    if (current?.attempt !== undefined) client.registry.abandon(current.attempt, because);
    this.abandonRivals(because);
    gate?.reportReleased('cancelled');
    this.hedges?.stop();
    if (this.bufferedBytes !== 0) this.dropRequest();
    gate?.close();
  }

  // ── state ──

  private runs(run: RunningAttempt): boolean {
    return this.current === run || this.rivals.has(run);
  }

  private get first(): RunningAttempt | undefined {
    if (this.current !== undefined) return this.current;
    for (const run of this.rivals) return run;
    return undefined;
  }

  get peer(): string | undefined {
    return this.first?.attempt?.peer;
  }

  get authContext(): Attempt['authContext'] {
    return this.current?.attempt?.authContext;
  }

  get obstacle(): Attempt['obstacle'] {
    return this.first?.attempt?.obstacle;
  }

  get unsentBecause(): string | undefined {
    return this.isSent ? undefined : this.first?.unsentBecause;
  }

  /** True if part of a running attempt may have been sent. */
  get isSent(): boolean {
    if (this.current !== undefined) return this.current.isSent;
    for (const run of this.rivals) if (run.isSent) return true;
    return false;
  }

  /** Start of the oldest attempt that runs, in monotonic milliseconds. */
  get runningSince(): number {
    return this.current === undefined ? (this.first?.startedAt ?? this.startedAt) : this.startedAt;
  }

  /** `reachedServer` of what the end of the call would interrupt, unless headers have arrived. */
  get reach(): Verdict['reachedServer'] {
    // An interceptor that ends the call while it starts may have sent it.
    if (this.isSent || this.isStarting) return 'maybe';
    return this.held?.verdict.reachedServer ?? 'no';
  }
}
