import type { Interceptor, Metadata } from '@grpc/grpc-js';
import type { Attempt, AttemptEnd, AttemptListener, AttemptRequest } from '../call/attempt.js';
import type { Waiter, WaitRefusal } from '../call/call-transport.js';
import type { MethodDescriptor } from '../call/method.js';
import { attemptMetadata, NO_METADATA } from '../channel/call-metadata.js';
import { classify } from '../policy/evidence/classify.js';
import type { Verdict } from '../policy/evidence/verdict.js';
import type { RetryDecision } from '../policy/retry/retry-decision.js';
import { StatusCode } from '../status/status-code.js';
import type { Timer } from '../time/clock.js';
import { AttemptHistory, type CallFacts } from './attempt-history.js';
import { admissionFailure } from './call-admission.js';
import { callDeadline, callInterceptors, callMetadata, type CallArguments } from './call-arguments.js';
import { bindCall } from './call-bindings.js';
import type { MethodContext } from './call-context.js';
import {
  callError,
  deadlineFailure,
  encodeRequest,
  failureReason,
  limitFailure,
  startFailure,
  type CallFailure,
} from './call-failure.js';
import { CallPermits } from './call-permits.js';
import type { RegisteredCall } from './call-registry.js';
import type { CallSink } from './call-sink.js';
import { endIsWanted, tellAttempt, tellCaller, tellEnd, tellStart } from './call-telling.js';
import { describeCall } from './describe-call.js';
import { DeadlineTimer } from './deadline-timer.js';
import { HedgedAttempt, type HedgeOwner } from './hedged-attempt.js';
import { RequestPump, type PumpOwner } from './request-pump.js';
import type { ActiveCall } from './resilient-grpc-client.js';
import type { GrpcCallOptions } from './resilient-types.js';

type Phase = 'begun' | 'waiting' | 'queued' | 'backoff' | 'running' | 'ended';

/**
 * One call from its subscription to its one end: waiting, attempts, backoff, deadline, cancellation. It is at once the request
 * and the listener of its attempts, and its own place in the queue and in the registry, so that a call costs one object.
 */
export class CallExecution implements AttemptRequest, AttemptListener, Waiter, HedgeOwner, PumpOwner, RegisteredCall {
  // As AttemptRequest
  readonly method: MethodDescriptor;
  deadline = Infinity;
  metadata: Metadata = NO_METADATA;
  readonly interceptors: readonly Interceptor[] | undefined;
  readonly maxReceiveBytes: number;
  // As Waiter
  waitForReady: boolean | undefined;
  bytes = 0;
  paced = false;

  private phase: Phase = 'begun';
  private callMetadata: Metadata = NO_METADATA;
  /** The one request message as it is sent; a stream of them has `requests`. */
  private payload: unknown;
  private requests: RequestPump | undefined;
  private attempt: Attempt | undefined;
  /** `attempt`, while it is several. */
  private hedged: HedgedAttempt | undefined;
  private permits: CallPermits | undefined;
  private attempts = 0;
  private history: AttemptHistory | undefined;
  private startedAt = 0;
  private attemptStartedAt = 0;
  /** It waited, and nobody was told yet how its attempt went. */
  private released = false;
  private reading = false;
  private hasResult = false;
  private result: unknown;
  private received = 0;
  private lastMessageAt: number | undefined;
  private deadlineTimer: DeadlineTimer | undefined;
  private backoffTimer: Timer | undefined;
  private untie: (() => void) | undefined;

  constructor(
    private readonly context: MethodContext,
    private readonly request: unknown,
    private readonly given: CallArguments,
    private readonly sink: CallSink,
  ) {
    this.method = context.method;
    this.maxReceiveBytes = context.maxReceiveBytes;
    this.interceptors = callInterceptors(context, given.options);
  }

  get options(): GrpcCallOptions | undefined {
    return this.given.options;
  }

  /** Begins the call; everything from here on reaches the sink, later or at once. */
  begin(): void {
    const { client, policy } = this.context;
    const { options } = this;
    this.startedAt = client.clock.now();
    try {
      this.deadline = callDeadline(this.context, options, client.clock.epoch());
      this.callMetadata = callMetadata(this.context, this.given);
    } catch (error) {
      this.phase = 'ended';
      this.sink.error(error);
      return;
    }
    this.metadata = this.callMetadata;
    this.waitForReady = options?.waitForReady ?? this.callMetadata.getOptions().waitForReady ?? policy.waitForReady;
    const failure = admissionFailure(this.context, this.deadline, options?.signal) ?? this.prepareRequest();
    if (failure !== undefined) {
      this.phase = 'ended';
      this.sink.error(callError(this.context, failure, undefined, 'no'));
      return;
    }
    client.registry.add(this);
    tellStart(this.context);
    if (options !== undefined) this.untie = bindCall(options, this.cancelled);
    if (this.method.requestStream && !this.openRequests()) return;
    this.proceed();
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

  // ── before anything is sent ──

  /** Encodes a single request: once, however many attempts follow. */
  private prepareRequest(): CallFailure | undefined {
    if (this.method.requestStream) return undefined;
    if (this.interceptors !== undefined) {
      this.payload = this.request;
      return undefined;
    }
    const encoded = encodeRequest(this.context, this.request);
    if (!(encoded instanceof Uint8Array)) return encoded;
    this.payload = encoded;
    this.bytes = encoded.length;
    return undefined;
  }

  private openRequests(): boolean {
    try {
      this.requests = new RequestPump(this.request, this, this.context.client.replayLimits);
    } catch (error) {
      this.sourceFailed(error);
    }
    // A synchronous source may have failed, and so ended the call, while it was opened.
    return this.isOpen();
  }

  private isOpen(): boolean {
    return this.phase !== 'ended';
  }

  encode(message: unknown): unknown {
    if (this.interceptors !== undefined) return message;
    const encoded = encodeRequest(this.context, message);
    if (encoded instanceof Uint8Array) return encoded;
    this.end(encoded);
    return undefined;
  }

  sourceFailed(error: unknown): void {
    if (this.phase === 'ended') return;
    this.context.client.registry.failed += 1;
    this.stop();
    this.sink.error(error);
  }

  // ── waiting ──

  /** Goes on to the next attempt: with a channel, then with the permits for it. */
  private proceed(): void {
    if (!this.context.client.transport.ready || this.paced) this.waitForChannel();
    else this.askPermits();
  }

  private waitForChannel(): void {
    this.phase = 'waiting';
    // Who waits for the channel keeps nobody else from it.
    this.permits?.release();
    this.armDeadline();
    this.context.client.transport.wait(this);
  }

  release(): void {
    if (this.phase !== 'waiting') return;
    this.released = true;
    this.paced = false;
    this.askPermits();
  }

  private askPermits(): void {
    const { limits, client } = this.context;
    if (limits.length === 0) {
      this.attemptNow();
      return;
    }
    this.permits ??= new CallPermits(limits, this.deadline, this.permitted, () => client.clock.epoch());
    const answer = this.permits.acquire();
    if (answer !== 'queued') {
      this.permitted(answer);
      return;
    }
    this.phase = 'queued';
    this.armDeadline();
  }

  private readonly permitted = (answer: 'permitted' | 'refused'): void => {
    if (this.phase === 'ended') return;
    if (answer === 'refused') this.end(limitFailure(this.context.limits));
    else if (this.phase === 'queued' && !this.context.client.transport.ready) this.waitForChannel();
    else this.attemptNow();
  };

  refuse(refusal: WaitRefusal): void {
    if (this.phase !== 'waiting') return;
    const { reason, details, retryAfterMs } = refusal;
    this.end({ code: StatusCode.UNAVAILABLE, details, reason, retryAfterMs });
  }

  private armDeadline(): void {
    if (this.deadline === Infinity) return;
    this.deadlineTimer ??= new DeadlineTimer(this.deadline, this.context.client.clock, this.deadlinePassed);
    this.deadlineTimer.arm();
  }

  private readonly deadlinePassed = (): void => {
    const { clock, transport } = this.context.client;
    const doing: Partial<Record<Phase, string>> = {
      waiting: `, waiting: ${transport.whyNotReady()}`,
      queued: ', queued for a permit (maxConcurrentCalls)',
      backoff: ', waiting to retry',
    };
    this.end(deadlineFailure(clock.now() - this.startedAt, doing[this.phase] ?? ''));
  };

  // ── attempts ──

  private attemptNow(): void {
    const { clock } = this.context.client;
    this.phase = 'running';
    if (this.interceptors !== undefined) this.armDeadline();
    else this.deadlineTimer?.disarm();
    if (this.hedged !== undefined) {
      this.hedged.resume();
      return;
    }
    this.attempts += 1;
    if (this.attempts > 1) this.metadata = attemptMetadata(this.callMetadata, this.attempts);
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
    const { start, hedging, client } = this.context;
    let attempt: Attempt;
    if (hedging !== undefined && this.options?.retry !== false) {
      this.hedged = new HedgedAttempt(hedging, client, this, this, this);
      attempt = this.hedged;
    } else {
      attempt = start(this, this);
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

  attemptGone(number: number, end: AttemptEnd, verdict: Verdict, durationMs: number, because: string): void {
    this.history ??= new AttemptHistory();
    this.history.note(end, verdict);
    this.history.add(number, end, verdict, durationMs, true);
    tellAttempt(this.context, this.history, verdict, { retry: true, because });
  }

  onHeaders(headers: Metadata): void {
    if (this.phase !== 'running') return;
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
      this.attempt?.cancel('protocol', StatusCode.UNIMPLEMENTED, 'Too many responses received');
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
      this.history.add(this.attempts, end, { code: StatusCode.OK, details: end.details }, latencyMs);
      this.tellEnd(StatusCode.OK, end.details, end.metadata, end.peer);
    }
    if (this.hasResult) this.sink.next(this.result);
    this.sink.complete();
  }

  private attemptFailed(end: AttemptEnd, verdict: Verdict): void {
    const { transport, clock } = this.context.client;
    const { metadata } = end;
    const { hedged } = this;
    if (hedged !== undefined) this.takeHedged(hedged);
    this.attempt = undefined;
    this.requests?.attemptEnded();
    this.hasResult = false;
    this.result = undefined;
    this.history ??= new AttemptHistory();
    if (verdict.reachedServer === 'yes' && !verdict.connectionLost) transport.answered(undefined);
    this.tellReleased(undefined);
    const { decision, retryAfterMs } =
      hedged === undefined
        ? this.history.judge(this.context, end, verdict, this.facts(end))
        : this.history.judgeHedged(end, verdict, hedged.because);
    // What never began is no attempt.
    if (decision.retry && decision.kind === 'wait') {
      this.attempts -= 1;
      this.waitForChannel();
      return;
    }
    this.history.add(this.attempts, end, verdict, clock.now() - this.attemptStartedAt);
    tellAttempt(this.context, this.history, verdict, decision);
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
    });
  }

  private facts(end: AttemptEnd): CallFacts {
    return {
      options: this.options,
      deadline: this.deadline,
      attempts: this.attempts,
      requestReplayable: this.requests?.replayable ?? true,
      delivered: end.headersReceived && (this.method.responseStream || this.options?.onHeaders !== undefined),
    };
  }

  /** From here on the attempt that decided is the attempt. */
  private takeHedged(hedged: HedgedAttempt): void {
    this.hedged = undefined;
    this.attempts = hedged.number;
    this.attemptStartedAt = hedged.decisiveStartedAt;
  }

  private goOn(decision: Extract<RetryDecision, { retry: true }>, verdict: Verdict): void {
    const { clock, registry } = this.context.client;
    // What was lost with a connection comes back at the pace of what waited: a kill under load is hundreds of them at once.
    this.paced = verdict.connectionLost;
    registry.retried += 1;
    this.phase = 'backoff';
    this.armDeadline();
    this.backoffTimer = clock.setTimer(this.backoffEnded, decision.delayMs, true);
  }

  private readonly backoffEnded = (): void => {
    this.backoffTimer = undefined;
    if (this.phase === 'backoff') this.proceed();
  };

  // ── the end ──

  private readonly cancelled = (details: string, cause: unknown): void => {
    this.end({ code: StatusCode.CANCELLED, details, reason: 'cancelled', cause });
  };

  terminate(reason: 'draining' | 'closed', details: string): void {
    this.end({ code: StatusCode.UNAVAILABLE, details, reason });
  }

  /** Fails the call, once. */
  private end(failure: CallFailure): void {
    if (this.phase === 'ended') return;
    const { attempt } = this;
    const peer = failure.peer ?? attempt?.peer;
    const error = callError(
      this.context,
      { ...failure, peer },
      this.history,
      attempt === undefined ? 'no' : this.received > 0 ? 'yes' : 'maybe',
    );
    this.context.client.registry.failed += 1;
    this.stop();
    this.tellEnd(error.code, error.details, error.metadata, peer);
    this.sink.error(error);
  }

  /** Lets go of everything that is held, on the wire too. */
  private stop(): void {
    const { phase, attempt } = this;
    this.phase = 'ended';
    this.attempt = undefined;
    if (phase === 'waiting') this.context.client.transport.leave(this);
    attempt?.abandon();
    this.letGo();
  }

  private letGo(): void {
    const { clock, registry } = this.context.client;
    this.deadlineTimer?.disarm();
    if (this.backoffTimer !== undefined) clock.clearTimer(this.backoffTimer);
    this.backoffTimer = undefined;
    this.untie?.();
    this.untie = undefined;
    this.requests?.close();
    this.permits?.release();
    registry.delete(this);
  }

  // ── what is told ──

  /** The pace of those that wait follows how the first of them fare. */
  private tellReleased(latencyMs: number | undefined): void {
    if (!this.released) return;
    this.released = false;
    this.context.client.transport.releasedEnded(latencyMs);
  }

  private tellEnd(code: StatusCode, details: string, trailers: Metadata, peer: string | undefined): void {
    if (!endIsWanted(this.context, this.options)) return;
    const durationMs = this.context.client.clock.now() - this.startedAt;
    const attempts = this.history?.records ?? [];
    tellEnd(this.context, this.options, { code, details, trailers, ...(peer && { peer }), durationMs, attempts });
  }

  describe(): ActiveCall {
    return describeCall(this.context, {
      peer: this.attempt?.peer,
      startedAt: this.startedAt,
      lastMessageAt: this.lastMessageAt,
      sent: this.requests?.sent ?? Math.min(this.attempts, 1),
      received: this.received,
      waiting: this.phase === 'waiting',
      cancel: this.cancelled,
    });
  }
}
