import type { Metadata } from '@grpc/grpc-js';
import type { Attempt, AttemptEnd, AttemptListener } from '../../call/attempt.js';
import type { StreamOutcome } from '../../call/stream-scope.js';
import { attemptMetadata } from '../../channel/attempt/call-metadata.js';
import { isCircuitOpenError } from '../../errors/circuit-open-error.js';
import { classify } from '../../policy/evidence/classify.js';
import type { Verdict } from '../../policy/evidence/verdict.js';
import type { RetryDecision } from '../../policy/retry/retry-decision.js';
import { StatusCode } from '../../status/status-code.js';
import { attemptStages } from '../attempts/attempt-stages.js';
import { HedgedAttempt, type HedgeCallbacks } from '../attempts/hedged-attempt.js';
import { AttemptHistory, isSafeToRepeat, lostConnection, type CallFacts } from './attempt-history.js';
import { failureReason, startFailure, TOO_MANY_RESPONSES, type CallFailure } from './call-failure.js';
import { endIsWanted, reportAttempt, notifyCaller } from './call-reporting.js';
import { KeptCall } from './kept-call.js';
import { outermost } from '../streams/scoped-stream.js';

/** gRPC prefixes each message with its length, and grpc-js counts the prefix against its retry buffers. */
const FRAME_HEADER = 5;
/** The request does not fit the retry buffers. */
const NOT_KEPT = -1;

/**
 * One call and its attempts. It is at once the request and the listener of its attempts, and its own place in the queue and in the
 * registry, so that a call costs one object.
 */
export class CallExecution extends KeptCall implements AttemptListener, HedgeCallbacks {
  private reading = false;
  private hasResult = false;
  private result: unknown;
  /** Bytes of a single request that count against the retry buffers; 0 until it is sent, `NOT_KEPT` if it does not fit. */
  private keptBytes = 0;

  readOn(): void {
    if (this.phase !== 'running' || this.reading) return;
    this.reading = true;
    this.attempt?.startRead();
  }

  // ── attempts ──

  protected override attemptNow(): void {
    const { clock } = this.context.client;
    this.phase = 'running';
    this.answerBegan = false;
    // grpc-js keeps the deadline of an attempt, unless interceptors hold it back.
    if (this.interceptors !== undefined || this.outgoing !== undefined) this.armDeadline();
    else this.disarmDeadline();
    if (this.hedged !== undefined) {
      this.hedged.resume();
      return;
    }
    this.number += 1;
    this.onAttemptStart();
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
    if (this.keptBytes === 0 && this.requests === undefined) this.keepRequest();
    const start = attemptStages(this.context, this.options, this.outgoing, this, this.origin);
    let attempt: Attempt;
    if (hedging !== undefined && this.mayRepeat && this.keptBytes !== NOT_KEPT) {
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

  get mayRepeat(): boolean {
    return this.options?.retry !== false && isSafeToRepeat(this.context, this.options);
  }

  /** Counts a single request against the retry buffers, as grpc-js does. What is never repeated costs nothing. */
  private keepRequest(): void {
    if (!this.mayRepeat) return;
    const bytes = FRAME_HEADER + this.bytes;
    this.keptBytes = this.context.client.replayLimits.take(bytes, 0) ? bytes : NOT_KEPT;
  }

  private forgetRequest(): void {
    if (this.keptBytes > 0) this.context.client.replayLimits.release(this.keptBytes);
    this.keptBytes = 0;
  }

  protected override releaseResources(outcome: StreamOutcome): void {
    this.forgetRequest();
    super.releaseResources(outcome);
  }

  needChannel(): void {
    this.rateLimited = true;
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
    reportAttempt(this.context, this.history, verdict, 'retry', because);
  }

  attemptResent(end: AttemptEnd, verdict: Verdict): void {
    this.history ??= new AttemptHistory();
    this.history.note(end, verdict);
  }

  onHeaders(headers: Metadata): void {
    if (this.phase !== 'running') return;
    this.answerBegan = true;
    const { client, method } = this.context;
    if (method.responseStream) {
      this.requests?.commit();
      this.forgetRequest();
      // How long a stream lasts says nothing of the server; that it began does.
      const now = client.clock.now();
      client.transport.answered(undefined);
      this.reportReleased(now - this.attemptStartedAt);
      this.context.statistics.answered(now - this.startedAt, now);
    }
    const onHeaders = this.options?.onHeaders;
    if (onHeaders !== undefined) notifyCaller(onHeaders, headers);
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
    const { transport, budget, clock } = this.context.client;
    const now = clock.now();
    if (this.hedged !== undefined) this.takeHedged(this.hedged);
    const latencyMs = now - this.attemptStartedAt;
    transport.answered(this.method.responseStream ? undefined : latencyMs);
    this.reportReleased(latencyMs);
    budget.onSuccess(now);
    const { statistics } = this.context;
    if (!this.method.responseStream || !this.answerBegan) statistics.answered(now - this.startedAt, now);
    statistics.succeeded(now);
    this.phase = 'ended';
    this.attempt = undefined;
    this.releaseResources('succeeded');
    if (endIsWanted(this.context, this.options)) {
      this.history ??= new AttemptHistory();
      this.history.add(this.number, end, { code: StatusCode.OK, details: end.details }, latencyMs);
      this.reportEnd({ code: StatusCode.OK, details: end.details, metadata: end.metadata, peer: end.peer });
    } else {
      this.telemetry?.end(StatusCode.OK, end.details);
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
    const { hedged } = this;
    if (hedged !== undefined) this.takeHedged(hedged);
    this.attempt = undefined;
    this.requests?.attemptEnded();
    this.hasResult = false;
    this.result = undefined;
    this.history ??= new AttemptHistory();
    if (verdict.reachedServer === 'yes' && !verdict.connectionLost) transport.answered(undefined);
    this.reportReleased(undefined);
    const { decision, retryAfterMs } =
      hedged === undefined
        ? this.history.judge(this.context, end, verdict, this.facts(end, verdict))
        : this.history.judgeHedged(end, verdict, hedged);
    if (decision.retry) this.telemetry?.nextIs(decision.kind === 'policy' ? 'retry' : 'transparent-retry');
    // What never began is no attempt.
    if (decision.retry && decision.kind === 'wait') {
      this.number -= 1;
      this.waitForChannel();
      return;
    }
    this.history.add(this.number, end, verdict, clock.now() - this.attemptStartedAt);
    const stream = decision.retry || !this.method.responseStream ? undefined : outermost(this.scope, undefined);
    if (stream === undefined) {
      reportAttempt(this.context, this.history, verdict, decision.retry ? 'retry' : 'none', decision.because);
      if (!this.isOpen()) return;
    }
    const failure = {
      code: verdict.code,
      details: verdict.details,
      reason: failureReason(verdict),
      because: decision.because,
      metadata: end.metadata,
      peer: end.peer,
      retryAfterMs,
      cause: end.cause,
    };
    if (decision.retry) {
      this.goOn(decision, lostConnection(end, verdict) !== undefined, failure);
      return;
    }
    this.end(failure);
    // Reported last: the end of the call decides whether its stream is resumed.
    if (stream !== undefined) {
      reportAttempt(this.context, this.history, verdict, stream.isOver ? 'none' : 'resume', decision.because);
    }
  }

  private facts(end: AttemptEnd, { reachedServer }: Verdict): CallFacts {
    // A single request is at hand while its call runs: what the server's application never saw is sent again whatever its size.
    const replayable = this.requests?.replayable ?? (this.keptBytes !== NOT_KEPT || reachedServer === 'no');
    return {
      options: this.options,
      deadline: this.deadline,
      attempts: this.number,
      requestReplayable: replayable,
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

  private goOn(
    decision: Extract<RetryDecision, { retry: true }>,
    isLostWithConnection: boolean,
    failure: CallFailure,
  ): void {
    // What was lost with a connection comes back at the pace of what waited: a kill under load is hundreds of them at once.
    this.rateLimited = isLostWithConnection;
    this.context.statistics.retried += 1;
    this.backOff(decision.delayMs, failure);
  }
}
