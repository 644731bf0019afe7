import type { Metadata } from '@grpc/grpc-js';
import type { Attempt, AttemptEnd, AttemptListener } from '../call/attempt.js';
import { attemptMetadata } from '../channel/call-metadata.js';
import { isCircuitOpenError } from '../errors/circuit-open-error.js';
import type { GrpcCallError } from '../errors/grpc-call-error.js';
import { classify } from '../policy/evidence/classify.js';
import type { Verdict } from '../policy/evidence/verdict.js';
import type { RetryDecision } from '../policy/retry/retry-decision.js';
import { StatusCode } from '../status/status-code.js';
import { AdmittedCall } from './admitted-call.js';
import { AttemptHistory, type CallFacts } from './attempt-history.js';
import { attemptStages } from './attempt-stages.js';
import { bindCall } from './call-bindings.js';
import type { MethodContext } from './call-context.js';
import {
  callError,
  cancelled,
  failureReason,
  startFailure,
  TOO_MANY_RESPONSES,
  type CallFailure,
} from './call-failure.js';
import type { RegisteredCall } from './call-registry.js';
import type { StreamSink, StreamSource } from '../call/stream-source.js';
import { endIsWanted, tellAttempt, tellCaller, tellEnd, tellStart } from './call-telling.js';
import { describeCall } from './describe-call.js';
import { HedgedAttempt, type HedgeOwner } from './hedged-attempt.js';
import type { AskedCall } from './prepared-call.js';
import { RequestPump, type PumpOwner } from './request-pump.js';
import type { ActiveCall } from './resilient-grpc-client.js';

/**
 * One call from its subscription to its one end: waiting, attempts, backoff, deadline, cancellation. It is at once the request
 * and the listener of its attempts, and its own place in the queue and in the registry, so that a call costs one object.
 */
export class CallExecution
  extends AdmittedCall
  implements AttemptListener, HedgeOwner, PumpOwner, RegisteredCall, StreamSource
{
  /** Request messages of a stream. */
  private requests: RequestPump | undefined;
  private attempt: Attempt | undefined;
  /** `attempt`, while it is several. */
  private hedged: HedgedAttempt | undefined;
  private history: AttemptHistory | undefined;
  private attemptStartedAt = 0;
  private reading = false;
  /** Headers of the attempt that runs came. */
  private answerBegan = false;
  private hasResult = false;
  private result: unknown;
  private received = 0;
  private lastMessageAt: number | undefined;
  private untie: (() => void) | undefined;

  constructor(
    context: MethodContext,
    asked: AskedCall,
    private readonly sink: StreamSink<unknown>,
  ) {
    super(context, asked);
  }

  get prefetch(): number {
    return this.options?.prefetch ?? this.context.policy.prefetch;
  }

  /** Begins the call; everything from here on reaches the sink, later or at once. */
  begin(): void {
    let failure: CallFailure | undefined;
    try {
      failure = this.prepare();
    } catch (error) {
      this.phase = 'ended';
      this.sink.error(error);
      return;
    }
    if (failure !== undefined) {
      this.phase = 'ended';
      this.sink.error(callError(this.context, failure, undefined, 'no'));
      return;
    }
    this.context.client.registry.add(this);
    tellStart(this.context);
    // Whoever was told may have ended it.
    if (!this.isOpen()) return;
    this.untie = bindCall(this.options, this.binding?.signal, this);
    if (this.method.requestStream && !this.openRequests()) return;
    if (this.outgoing === undefined) this.proceed();
    else this.askInterceptors(this.outgoing);
  }

  /** The caller has left. */
  unsubscribe(): void {
    if (this.phase === 'ended') return;
    this.context.client.registry.cancelled += 1;
    this.stop();
  }

  /** The sink, which had enough, takes messages again. */
  readOn(): void {
    if (this.phase !== 'running' || this.reading) return;
    this.reading = true;
    this.attempt?.startRead();
  }

  // ── requests of a stream ──

  private openRequests(): boolean {
    try {
      this.requests = new RequestPump(this.asked.request, this, this.context, this.interceptors === undefined);
    } catch (error) {
      this.sourceFailed(error);
    }
    // A synchronous source may have failed, and so ended the call, while it was opened.
    return this.isOpen();
  }

  /** It has not ended. What a caller, an interceptor or a listener does in between may end it at any place. */
  isOpen(): boolean {
    return this.phase !== 'ended';
  }

  sourceFailed(error: unknown): void {
    if (this.phase === 'ended') return;
    this.context.client.registry.failed += 1;
    this.stop();
    this.sink.error(error);
  }

  // ── attempts ──

  protected override attemptNow(): void {
    const { clock } = this.context.client;
    this.phase = 'running';
    // grpc-js keeps the deadline of an attempt, unless interceptors hold it back.
    if (this.interceptors !== undefined || this.outgoing !== undefined) this.armDeadline();
    else this.disarmDeadline();
    if (this.hedged !== undefined) {
      this.hedged.resume();
      return;
    }
    this.number += 1;
    if (this.number > 1) this.metadata = attemptMetadata(this.callMetadata, this.number);
    this.attemptStartedAt = clock.now();
    this.reading = true;
    try {
      this.startAttempt();
    } catch (error) {
      // An open circuit, an interceptor that throws, metadata of another library.
      this.end(startFailure(error));
    }
  }

  private startAttempt(): void {
    const { hedging, client } = this.context;
    const start = attemptStages(this.context, this.options, this.outgoing, this);
    let attempt: Attempt;
    if (hedging !== undefined && this.options?.retry !== false && this.options?.idempotent !== false) {
      this.hedged = new HedgedAttempt(hedging, client, this, this, this, start, this.binding?.inRetryChain ?? false);
      attempt = this.hedged;
    } else {
      attempt = start(this, this);
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
    attempt.send(this.payload);
    attempt.halfClose();
    attempt.startRead();
  }

  needChannel(): void {
    this.paced = true;
    this.waitForChannel();
  }

  cannotStart(error: unknown): void {
    this.attempt = undefined;
    this.end(startFailure(error));
  }

  attemptGone(number: number, end: AttemptEnd, verdict: Verdict, durationMs: number, because: string): void {
    this.history ??= new AttemptHistory();
    this.history.note(end, verdict);
    this.history.add(number, end, verdict, durationMs, true);
    tellAttempt(this.context, this.history, verdict, { retry: true, because });
  }

  onHeaders(headers: Metadata): void {
    if (this.phase !== 'running') return;
    this.answerBegan = true;
    const { client, method } = this.context;
    if (method.responseStream) {
      this.requests?.commit();
      // How long a stream lasts says nothing of the server; that it began does.
      client.transport.answered(undefined);
      this.tellReleased(client.clock.now() - this.attemptStartedAt);
    }
    const onHeaders = this.options?.onHeaders;
    if (onHeaders !== undefined) tellCaller(onHeaders, headers);
  }

  onMessage(message: unknown): void {
    if (this.phase !== 'running') return;
    this.reading = false;
    this.received += 1;
    if (!this.method.responseStream) {
      this.onResult(message);
      return;
    }
    this.lastMessageAt = this.context.client.clock.now();
    if (this.sink.next(message) !== false) this.readOn();
  }

  /** The one answer, which counts when its status is OK. Reads on: a server that sends a second one would else never end. */
  private onResult(message: unknown): void {
    if (this.hasResult) {
      this.attempt?.cancel('protocol', StatusCode.UNIMPLEMENTED, TOO_MANY_RESPONSES);
      return;
    }
    this.hasResult = true;
    this.result = message;
    this.readOn();
  }

  onEnd(end: AttemptEnd): void {
    if (this.phase !== 'running') return;
    if (end.code !== StatusCode.OK) {
      this.attemptFailed(end, classify(end));
    } else if (this.method.responseStream || this.hasResult) {
      this.succeeded(end);
    } else {
      // As grpc-js's own client has it.
      const verdict = { kind: 'protocol', code: StatusCode.UNIMPLEMENTED, details: 'No message received' } as const;
      this.attemptFailed(end, { ...classify(end), ...verdict });
    }
  }

  private succeeded(end: AttemptEnd): void {
    const { transport, budget, clock, registry } = this.context.client;
    const now = clock.now();
    if (this.hedged !== undefined) this.takeHedged(this.hedged);
    const latencyMs = now - this.attemptStartedAt;
    transport.answered(this.method.responseStream ? undefined : latencyMs);
    this.tellReleased(latencyMs);
    budget.onSuccess(now);
    registry.succeeded += 1;
    this.phase = 'ended';
    this.attempt = undefined;
    this.letGo();
    if (endIsWanted(this.context, this.options)) {
      this.history ??= new AttemptHistory();
      this.history.add(this.number, end, { code: StatusCode.OK, details: end.details }, latencyMs);
      this.tellEnd({ code: StatusCode.OK, details: end.details, metadata: end.metadata, peer: end.peer });
    }
    if (this.hasResult) this.sink.next(this.result);
    this.sink.complete();
  }

  private attemptFailed(end: AttemptEnd, verdict: Verdict): void {
    if (isCircuitOpenError(end.cause)) {
      this.cannotStart(end.cause);
      return;
    }
    const { transport, clock } = this.context.client;
    const { metadata } = end;
    const { hedged } = this;
    if (hedged !== undefined) this.takeHedged(hedged);
    this.attempt = undefined;
    this.answerBegan = false;
    this.requests?.attemptEnded();
    this.hasResult = false;
    this.result = undefined;
    this.history ??= new AttemptHistory();
    if (verdict.reachedServer === 'yes' && !verdict.connectionLost) transport.answered(undefined);
    this.tellReleased(undefined);
    const { decision, retryAfterMs } =
      hedged === undefined
        ? this.history.judge(this.context, end, verdict, this.facts(end))
        : this.history.judgeHedged(end, verdict, hedged);
    // What never began is no attempt.
    if (decision.retry && decision.kind === 'wait') {
      this.number -= 1;
      this.waitForChannel();
      return;
    }
    this.history.add(this.number, end, verdict, clock.now() - this.attemptStartedAt);
    tellAttempt(this.context, this.history, verdict, decision);
    if (!this.isOpen()) return;
    if (decision.retry) {
      this.goOn(decision, verdict);
      return;
    }
    this.end({
      code: verdict.code,
      details: verdict.details,
      reason: failureReason(verdict),
      because: decision.because,
      metadata,
      peer: end.peer,
      retryAfterMs,
      cause: end.cause,
    });
  }

  private facts(end: AttemptEnd): CallFacts {
    return {
      options: this.options,
      deadline: this.deadline,
      attempts: this.number,
      requestReplayable: this.requests?.replayable ?? true,
      delivered: end.headersReceived && (this.method.responseStream || this.options?.onHeaders !== undefined),
      inRetryChain: this.binding?.inRetryChain ?? false,
    };
  }

  /** From here on the attempt that decided is the attempt. */
  private takeHedged(hedged: HedgedAttempt): void {
    this.hedged = undefined;
    this.number = hedged.number;
    this.attemptStartedAt = hedged.decisiveStartedAt;
  }

  private goOn(decision: Extract<RetryDecision, { retry: true }>, verdict: Verdict): void {
    // What was lost with a connection comes back at the pace of what waited: a kill under load is hundreds of them at once.
    this.paced = verdict.connectionLost;
    this.context.client.registry.retried += 1;
    this.backOff(decision.delayMs);
  }

  // ── the end ──

  terminate(reason: 'draining' | 'closed', details: string): void {
    this.end({ code: StatusCode.UNAVAILABLE, details, reason });
  }

  override end(failure: CallFailure): void {
    if (this.phase === 'ended') return;
    const peer = failure.peer ?? this.attempt?.peer;
    if (this.attempt !== undefined && this.hedged === undefined) {
      this.history ??= new AttemptHistory();
      this.history.add(this.number, { peer }, failure, this.context.client.clock.now() - this.attemptStartedAt);
    }
    const error = callError(this.context, { ...failure, peer }, this.history, this.cutOff());
    this.context.client.registry.failed += 1;
    this.stop(failure.reason === 'deadline' ? 'deadline' : undefined);
    this.tellEnd(error);
    this.sink.error(error);
  }

  /** How far the attempt got that is cut off now. */
  private cutOff(): Verdict['reachedServer'] {
    if (this.hedged !== undefined) return this.hedged.reached;
    if (this.attempt === undefined) return 'no';
    return this.answerBegan ? 'yes' : 'maybe';
  }

  /** Lets go of everything that is held, on the wire too. */
  private stop(because?: 'deadline'): void {
    const { attempt } = this;
    this.leave();
    this.attempt = undefined;
    attempt?.abandon(because);
    this.letGo();
  }

  private letGo(): void {
    this.letGoOfWaiting();
    this.untie?.();
    this.untie = undefined;
    this.requests?.close();
    this.context.client.registry.delete(this);
  }

  // ── what is told ──

  private tellEnd(end: Pick<GrpcCallError, 'code' | 'details' | 'metadata' | 'peer'>): void {
    const { code, details, metadata: trailers, peer } = end;
    const durationMs = this.context.client.clock.now() - this.startedAt;
    tellEnd(this.context, this.options, this.outgoing, this.history, { code, details, trailers, peer, durationMs });
  }

  describe(): ActiveCall {
    return describeCall(this.context, {
      peer: this.attempt?.peer,
      startedAt: this.startedAt,
      lastMessageAt: this.lastMessageAt,
      sent: this.requests?.sent ?? Math.min(this.number, 1),
      received: this.received,
      waiting: this.phase === 'waiting',
      cancel: (details) => {
        this.end(cancelled(details, undefined));
      },
    });
  }
}
