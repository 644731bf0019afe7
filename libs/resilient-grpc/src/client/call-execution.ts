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
import { AttemptHistory } from './attempt-history.js';
import { admissionFailure } from './call-admission.js';
import { callDeadline, callInterceptors, callMetadata, type CallArguments } from './call-arguments.js';
import { bindCall } from './call-bindings.js';
import type { MethodContext } from './call-context.js';
import { callError, deadlineFailure, encodeRequest, failureReason, textOf, type CallFailure } from './call-failure.js';
import type { RegisteredCall } from './call-registry.js';
import type { CallSink } from './call-sink.js';
import { endIsWanted, tellAttempt, tellCaller, tellEnd, tellStart } from './call-telling.js';
import { describeCall } from './describe-call.js';
import { DeadlineTimer } from './deadline-timer.js';
import { RequestPump, type PumpOwner } from './request-pump.js';
import type { ActiveCall } from './resilient-grpc-client.js';
import type { GrpcCallOptions } from './resilient-types.js';

type Phase = 'begun' | 'waiting' | 'backoff' | 'running' | 'ended';

/**
 * One call from its subscription to its one end: waiting, attempts, backoff, deadline, cancellation. It is at once the request
 * and the listener of its attempts, and its own place in the queue and in the registry, so that a call costs one object.
 */
export class CallExecution implements AttemptRequest, AttemptListener, Waiter, PumpOwner, RegisteredCall {
  // As AttemptRequest
  readonly method: MethodDescriptor;
  deadline = Infinity;
  metadata: Metadata = NO_METADATA;
  readonly interceptors: readonly Interceptor[] | undefined;
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
      this.sink.error(callError(this.context, failure, undefined, false));
      return;
    }
    client.registry.add(this);
    tellStart(this.context);
    if (options !== undefined) this.untie = bindCall(options, this.cancelled);
    if (this.method.requestStream && !this.openRequests()) return;
    if (client.transport.ready) this.attemptNow();
    else this.waitForChannel();
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
      this.requests = new RequestPump(this.request, this);
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

  private waitForChannel(): void {
    this.phase = 'waiting';
    this.armDeadline();
    this.context.client.transport.wait(this);
  }

  release(): void {
    if (this.phase !== 'waiting') return;
    this.released = true;
    this.attemptNow();
  }

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
    const doing = { waiting: `, waiting: ${transport.whyNotReady()}`, backoff: ', waiting to retry' };
    const during = this.phase === 'waiting' || this.phase === 'backoff' ? doing[this.phase] : '';
    this.end(deadlineFailure(clock.now() - this.startedAt, during));
  };

  // ── attempts ──

  private attemptNow(): void {
    const { transport, clock } = this.context.client;
    this.phase = 'running';
    this.attempts += 1;
    if (this.attempts > 1) this.metadata = attemptMetadata(this.callMetadata, this.attempts);
    if (this.interceptors !== undefined) this.armDeadline();
    else this.deadlineTimer?.disarm();
    this.attemptStartedAt = clock.now();
    let attempt: Attempt;
    try {
      attempt = transport.start(this, this);
    } catch (error) {
      // An interceptor that throws, or metadata of another library.
      const details = `The call could not be started: ${textOf(error)}`;
      this.end({ code: StatusCode.INTERNAL, details, reason: 'not-sent', because: 'local', cause: error });
      return;
    }
    this.attempt = attempt;
    this.reading = true;
    if (this.requests !== undefined) {
      attempt.startRead();
      this.requests.attemptBegan(attempt);
      return;
    }
    attempt.send(this.payload);
    attempt.halfClose();
    attempt.startRead();
  }

  onHeaders(headers: Metadata): void {
    if (this.phase !== 'running') return;
    const { client, method } = this.context;
    if (method.responseStream) {
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
    this.attempt = undefined;
    this.requests?.attemptEnded();
    this.hasResult = false;
    this.result = undefined;
    this.history ??= new AttemptHistory();
    if (verdict.reachedServer === 'yes' && !verdict.connectionLost) transport.answered(undefined);
    this.tellReleased(undefined);
    const { decision, retryAfterMs } = this.history.judge(this.context, end, verdict, {
      options: this.options,
      deadline: this.deadline,
      attempts: this.attempts,
      requestReplayable: this.requests === undefined || this.requests.sent === 0,
      delivered: end.headersReceived && (this.method.responseStream || this.options?.onHeaders !== undefined),
    });
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
    if (this.phase !== 'backoff') return;
    if (this.paced || !this.context.client.transport.ready) this.waitForChannel();
    else this.attemptNow();
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
    const error = callError(this.context, { ...failure, peer }, this.history, attempt !== undefined);
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
