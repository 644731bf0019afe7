import type { CallOptions, Interceptor, Metadata } from '@grpc/grpc-js';
import type { Attempt, AttemptEnd, AttemptListener, AttemptRequest } from '../call/attempt.js';
import type { AttemptRecord, CallEnd } from '../call/call-event.js';
import type { Waiter, WaitRefusal } from '../call/call-transport.js';
import type { MethodDescriptor } from '../call/method.js';
import { attemptMetadata, NO_METADATA } from '../channel/call-metadata.js';
import { GrpcCallError, type FailureReason } from '../errors/grpc-call-error.js';
import { remainingMs } from '../policy/deadline/deadline.js';
import { classify } from '../policy/evidence/classify.js';
import type { Verdict } from '../policy/evidence/verdict.js';
import { NO_PUSHBACK, parsePushback, type Pushback } from '../policy/pushback/parse-pushback.js';
import { decideRetry } from '../policy/retry/decide-retry.js';
import type { RetryDecision } from '../policy/retry/retry-decision.js';
import { DEFAULT_RETRY_POLICY, type RetryPolicy } from '../policy/retry/retry-policy.js';
import { StatusCode } from '../status/status-code.js';
import { moment, type Timer } from '../time/clock.js';
import { boundToParent, callDeadline, callMetadata, type CallArguments } from './call-arguments.js';
import type { MethodContext } from './call-context.js';
import { failureReason, further } from './call-failure.js';
import type { RegisteredCall } from './call-registry.js';
import { requestSource, type RequestSource, type RequestTaker } from './request-source.js';
import type { ActiveCall } from './resilient-grpc-client.js';
import type { GrpcCallOptions } from './resilient-types.js';

/** Takes what a call gives. An RxJS subscriber is one. */
export interface CallSink {
  /** false: no more for now, until `CallExecution.readOn()`. */
  next(message: unknown): unknown;
  error(error: unknown): void;
  complete(): void;
}

/** What a failure is made from, beside what the call knows itself. */
interface Failure {
  readonly code: StatusCode;
  readonly details: string;
  readonly reason: FailureReason;
  readonly because: string;
  readonly metadata?: Metadata;
  readonly peer?: string | undefined;
  readonly retryAfterMs?: number | undefined;
  readonly cause?: unknown;
}

const KEPT_RECORDS = 20;
const PUSHBACK_KEY = 'grpc-retry-pushback-ms';

/**
 * One call from its subscription to its one end: waiting, attempts, backoff, deadline, cancellation. It is at once the request
 * and the listener of its attempts, its own place in the queue and in the registry, so that a call costs one object.
 */
export class CallExecution implements AttemptRequest, AttemptListener, Waiter, RequestTaker, RegisteredCall {
  // As AttemptRequest
  readonly method: MethodDescriptor;
  deadline = Infinity;
  metadata: Metadata = NO_METADATA;
  readonly interceptors: readonly Interceptor[] | undefined;
  // As Waiter
  waitForReady: boolean | undefined;
  bytes = 0;
  paced = false;

  private callMetadata: Metadata = NO_METADATA;
  private payload: unknown;
  private source: RequestSource | undefined;
  private pulling = false;
  private pendingRequest: { readonly message: unknown } | 'end' | undefined;

  private attempt: Attempt | undefined;
  private attempts = 0;
  private retriesSincePushback = 0;
  private startedAt = 0;
  private attemptStartedAt = 0;
  private phase: 'begun' | 'waiting' | 'backoff' | 'running' | 'ended' = 'begun';
  private released = false;
  private reading = false;
  private hasResult = false;
  private result: unknown;
  private sent = 0;
  private received = 0;
  private lastMessageAt: number | undefined;
  private reached: Verdict['reachedServer'] = 'no';
  private records: AttemptRecord[] | undefined;
  private lastStatus: { readonly code: number; readonly details: string } | undefined;

  private deadlineTimer: Timer | undefined;
  private backoffTimer: Timer | undefined;
  private unbind: (() => void) | undefined;

  constructor(
    private readonly context: MethodContext,
    private readonly request: unknown,
    private readonly given: CallArguments,
    private readonly sink: CallSink,
  ) {
    this.method = context.method;
    this.interceptors = callInterceptors(context, given.options);
  }

  get options(): (GrpcCallOptions & CallOptions) | undefined {
    return this.given.options;
  }

  /** Begins the call; everything from here on reaches the sink, later or at once. */
  begin(): void {
    const { client, policy } = this.context;
    this.startedAt = client.clock.now();
    try {
      this.deadline = callDeadline(this.context, this.options, client.clock.epoch());
      this.callMetadata = callMetadata(this.context, this.given);
    } catch (error) {
      this.phase = 'ended';
      this.sink.error(error);
      return;
    }
    this.metadata = this.callMetadata;
    this.waitForReady =
      this.options?.waitForReady ?? this.callMetadata.getOptions().waitForReady ?? policy.waitForReady;
    if (!this.admitted() || !this.prepareRequest()) return;
    client.registry.add(this);
    if (client.events.everyCallWanted) client.events.emit({ type: 'call-start', path: this.method.path });
    if (this.options !== undefined) this.bind(this.options);
    if (this.method.requestStream && !this.openSource()) return;
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

  // ── admission ──

  private admitted(): boolean {
    const { client } = this.context;
    const { accepting } = client.registry;
    const signal = this.options?.signal;
    if (accepting !== 'yes') {
      const details = accepting === 'closed' ? 'The client was closed' : 'The client is shutting down';
      this.refuseNew(StatusCode.UNAVAILABLE, accepting === 'closed' ? 'closed' : 'draining', details);
    } else if (signal?.aborted === true) {
      this.refuseNew(StatusCode.CANCELLED, 'cancelled', 'Cancelled on client', signal.reason);
    } else if (this.deadline !== Infinity && this.deadline <= client.clock.epoch()) {
      // grpc-js would send it all the same, and the server would run it.
      this.refuseNew(StatusCode.DEADLINE_EXCEEDED, 'deadline', 'Deadline exceeded before the call began');
    } else {
      return true;
    }
    return false;
  }

  private refuseNew(code: StatusCode, reason: FailureReason, details: string, cause?: unknown): void {
    this.phase = 'ended';
    this.sink.error(this.makeError({ code, reason, details, because: reason, cause }));
  }

  /** Serializes a single request: once, however many attempts follow, and before anything is sent. */
  private prepareRequest(): boolean {
    if (this.method.requestStream) return true;
    if (this.interceptors !== undefined) {
      this.payload = this.request;
      return true;
    }
    const failure = this.serialize(this.request);
    if (failure === undefined) return true;
    this.phase = 'ended';
    this.sink.error(this.makeError(failure));
    return false;
  }

  /** Leaves the bytes in `payload`, or says what is wrong with the message. */
  private serialize(message: unknown): Failure | undefined {
    let bytes: Buffer;
    try {
      bytes = this.method.requestSerialize(message);
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error);
      const details = `Request message serialization failure: ${text}`;
      return { code: StatusCode.INTERNAL, details, reason: 'not-sent', because: 'local', cause: error };
    }
    const { maxSendBytes } = this.context;
    if (bytes.length > maxSendBytes) {
      const details = `Attempted to send message with a size larger than ${String(maxSendBytes)} (${String(bytes.length)})`;
      return { code: StatusCode.RESOURCE_EXHAUSTED, details, reason: 'not-sent', because: 'local' };
    }
    this.payload = bytes;
    this.bytes = bytes.length;
    return undefined;
  }

  private bind(options: GrpcCallOptions): void {
    const { signal, parent } = options;
    const undo: (() => void)[] = [];
    if (signal !== undefined) {
      const onAbort = (): void => {
        this.end({
          code: StatusCode.CANCELLED,
          details: 'Cancelled on client',
          reason: 'cancelled',
          because: 'cancelled',
          cause: signal.reason,
        });
      };
      signal.addEventListener('abort', onAbort, { once: true });
      undo.push(() => {
        signal.removeEventListener('abort', onAbort);
      });
    }
    if (parent !== undefined && boundToParent(options)) {
      const onCancelled = (): void => {
        this.end({
          code: StatusCode.CANCELLED,
          details: 'Cancelled by parent call',
          reason: 'cancelled',
          because: 'cancelled',
        });
      };
      const inbound: NodeJS.EventEmitter = parent;
      inbound.once('cancelled', onCancelled);
      undo.push(() => {
        inbound.removeListener('cancelled', onCancelled);
      });
    }
    if (undo.length === 0) return;
    this.unbind = () => {
      for (const task of undo) task();
    };
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
    this.end({ code: StatusCode.UNAVAILABLE, details, reason, because: reason, retryAfterMs, cause: this.lastStatus });
  }

  /** grpc-js keeps the deadline of a running attempt; while none runs, and where interceptors may hold one back, it is ours. */
  private armDeadline(): void {
    if (this.deadline === Infinity || this.deadlineTimer !== undefined) return;
    const { clock } = this.context.client;
    this.deadlineTimer = clock.setTimer(this.deadlinePassed, remainingMs(this.deadline, clock.epoch()), true);
  }

  private disarmDeadline(): void {
    if (this.deadlineTimer === undefined) return;
    this.context.client.clock.clearTimer(this.deadlineTimer);
    this.deadlineTimer = undefined;
  }

  private readonly deadlinePassed = (): void => {
    this.deadlineTimer = undefined;
    const { clock, transport } = this.context.client;
    // Timers are cut at 24 days, and may fire a little early.
    if (clock.epoch() < this.deadline) {
      this.armDeadline();
      return;
    }
    const after = `Deadline exceeded after ${((clock.now() - this.startedAt) / 1_000).toFixed(3)}s`;
    const doing = {
      begun: '',
      ended: '',
      waiting: `, waiting: ${transport.whyNotReady()}`,
      backoff: ', waiting to retry',
      running: '',
    };
    this.end({
      code: StatusCode.DEADLINE_EXCEEDED,
      details: `${after}${doing[this.phase]}`,
      reason: 'deadline',
      because: 'deadline',
      cause: this.lastStatus,
    });
  };

  // ── attempts ──

  private attemptNow(): void {
    const { client } = this.context;
    this.phase = 'running';
    this.attempts += 1;
    if (this.attempts > 1) this.metadata = attemptMetadata(this.callMetadata, this.attempts);
    if (this.interceptors === undefined) this.disarmDeadline();
    else this.armDeadline();
    this.attemptStartedAt = client.clock.now();
    let attempt: Attempt;
    try {
      attempt = client.transport.start(this, this);
    } catch (error) {
      // An interceptor that throws, or metadata of another library.
      const details = `The call could not be started: ${error instanceof Error ? error.message : String(error)}`;
      this.end({ code: StatusCode.INTERNAL, details, reason: 'not-sent', because: 'local', cause: error });
      return;
    }
    this.attempt = attempt;
    this.reading = true;
    if (this.source !== undefined) {
      attempt.startRead();
      this.pump();
      return;
    }
    attempt.send(this.payload);
    attempt.halfClose();
    attempt.startRead();
  }

  onHeaders(headers: Metadata): void {
    if (this.method.responseStream) this.context.client.transport.answered(undefined);
    const { options } = this;
    if (options?.onHeaders !== undefined) hook(options.onHeaders, headers);
  }

  onMessage(message: unknown): void {
    this.reading = false;
    this.received += 1;
    if (!this.method.responseStream) {
      this.onResult(message);
      return;
    }
    this.lastMessageAt = this.context.client.clock.now();
    if (this.sink.next(message) !== false) this.readOn();
  }

  /** The one answer; it counts when its status is OK. Reads on, since a server that sends a second one would else never end. */
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
      return;
    }
    if (!this.method.responseStream && !this.hasResult) {
      const details = 'No message received';
      this.attemptFailed(end, { ...classify(end), kind: 'protocol', code: StatusCode.UNIMPLEMENTED, details });
      return;
    }
    this.succeeded(end);
  }

  private succeeded(end: AttemptEnd): void {
    const { transport, budget, clock, registry } = this.context.client;
    const now = clock.now();
    const latencyMs = now - this.attemptStartedAt;
    transport.answered(this.method.responseStream ? undefined : latencyMs);
    if (this.released) transport.releasedEnded(latencyMs);
    budget.onSuccess(now);
    registry.succeeded += 1;
    this.conclude(StatusCode.OK, '', end.metadata, end);
    if (this.hasResult) this.sink.next(this.result);
    this.sink.complete();
  }

  private attemptFailed(end: AttemptEnd, verdict: Verdict): void {
    const { client } = this.context;
    const { metadata } = end;
    this.attempt = undefined;
    this.hasResult = false;
    this.result = undefined;
    this.reached = further(this.reached, verdict.reachedServer);
    this.lastStatus = { code: end.code, details: end.details };
    if (verdict.reachedServer === 'yes' && !verdict.connectionLost) client.transport.answered(undefined);
    if (this.released) client.transport.releasedEnded(undefined);
    this.released = false;
    const values = metadata.get(PUSHBACK_KEY);
    const pushback = values.length === 0 ? NO_PUSHBACK : parsePushback(values);
    const decision = this.decide(end, verdict, pushback);
    if (decision.retry && decision.kind === 'wait') this.attempts -= 1;
    else this.record(end, verdict);
    this.tellAttempt(verdict, decision);
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
      retryAfterMs: pushback.kind === 'delay' ? pushback.ms : undefined,
      cause: verdict.details === end.details ? undefined : this.lastStatus,
    });
  }

  private decide(end: AttemptEnd, verdict: Verdict, pushback: Pushback): RetryDecision {
    const { client } = this.context;
    return decideRetry({
      verdict,
      pushback,
      policy: this.retryPolicy(),
      attempts: this.attempts,
      retriesSincePushback: this.retriesSincePushback,
      requestReplayable: this.source === undefined || this.sent === 0,
      remainingMs: remainingMs(this.deadline, client.clock.epoch()),
      draining: client.registry.accepting === 'closed',
      disabled: this.options?.retry === false,
      budget: client.budget,
      now: client.clock.now(),
      connectionKey: verdict.connectionLost ? end.connectionKey : '',
      random: client.random,
    });
  }

  private retryPolicy(): RetryPolicy | undefined {
    const { policy } = this.context;
    const idempotent = this.options?.idempotent;
    if (idempotent === undefined) return policy.retry;
    return idempotent ? (policy.retry ?? DEFAULT_RETRY_POLICY) : undefined;
  }

  private goOn(decision: Extract<RetryDecision, { retry: true }>, verdict: Verdict): void {
    const { clock, registry } = this.context.client;
    // What was lost with a connection comes back at the pace of what waited: a kill under load is hundreds of them at once.
    this.paced = verdict.connectionLost;
    if (decision.kind === 'wait') {
      this.waitForChannel();
      return;
    }
    registry.retried += 1;
    this.retriesSincePushback = decision.because === 'pushback' ? 0 : this.retriesSincePushback + 1;
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

  // ── requests of a stream ──

  private openSource(): boolean {
    try {
      this.source = requestSource(this.request, this);
    } catch (error) {
      this.stop();
      this.sink.error(error);
      return false;
    }
    // A synchronous source may have failed, and ended the call, while it was opened.
    return this.isOpen();
  }

  private isOpen(): boolean {
    return this.phase !== 'ended';
  }

  /** Sends the next message: one at a time, since grpc-js loses the second of two in flight. */
  private readonly pump = (): void => {
    if (this.phase !== 'running') return;
    const { pendingRequest } = this;
    this.pendingRequest = undefined;
    if (pendingRequest === 'end') this.onRequestsEnd();
    else if (pendingRequest !== undefined) this.onRequest(pendingRequest.message);
    else if (!this.pulling) {
      this.pulling = true;
      this.source?.pull();
    }
  };

  onRequest(message: unknown): void {
    this.pulling = false;
    if (this.phase === 'ended') return;
    if (this.phase !== 'running') {
      this.pendingRequest = { message };
      return;
    }
    let payload = message;
    if (this.interceptors === undefined) {
      const failure = this.serialize(message);
      if (failure !== undefined) {
        this.end(failure);
        return;
      }
      payload = this.payload;
      this.payload = undefined;
      this.bytes = 0;
    }
    this.sent += 1;
    this.attempt?.send(payload, this.pump);
  }

  onRequestsEnd(): void {
    this.pulling = false;
    if (this.phase === 'running') this.attempt?.halfClose();
    else if (this.phase !== 'ended') this.pendingRequest = 'end';
  }

  /** The source of requests failed: its error is the caller's own and reaches him as it is. */
  onRequestsError(error: unknown): void {
    if (this.phase === 'ended') return;
    this.context.client.registry.failed += 1;
    this.stop();
    this.sink.error(error);
  }

  // ── the end ──

  /** Fails the call, once. */
  private end(failure: Failure): void {
    if (this.phase === 'ended') return;
    const { client } = this.context;
    const error = this.makeError(failure);
    client.registry.failed += 1;
    this.stop();
    this.tellEnd(failure.code, failure.details, error.metadata, failure.peer);
    this.sink.error(error);
  }

  terminate(reason: 'draining' | 'closed', code: StatusCode, details: string): void {
    this.end({ code, details, reason, because: reason, cause: this.lastStatus });
  }

  /** Lets go of everything that is held, on the wire too. */
  private stop(): void {
    const { client } = this.context;
    const { phase, attempt } = this;
    this.phase = 'ended';
    if (phase === 'waiting') client.transport.leave(this);
    this.attempt = undefined;
    attempt?.abandon();
    this.letGo();
  }

  private conclude(code: StatusCode, details: string, trailers: Metadata, end: AttemptEnd): void {
    this.phase = 'ended';
    this.attempt = undefined;
    this.letGo();
    if (this.options?.onEnd === undefined && !this.context.client.events.everyCallWanted) return;
    this.record(end, { code, details });
    this.tellEnd(code, details, trailers, end.peer);
  }

  private letGo(): void {
    const { client } = this.context;
    this.disarmDeadline();
    if (this.backoffTimer !== undefined) client.clock.clearTimer(this.backoffTimer);
    this.backoffTimer = undefined;
    this.unbind?.();
    this.unbind = undefined;
    this.source?.close();
    client.registry.delete(this);
  }

  private makeError(failure: Failure): GrpcCallError {
    const running = this.phase === 'running' && this.attempt !== undefined;
    return new GrpcCallError({
      code: failure.code,
      details: failure.details,
      metadata: failure.metadata ?? NO_METADATA.clone(),
      client: this.context.client.name,
      path: this.method.path,
      peer: failure.peer ?? this.attempt?.peer,
      reason: failure.reason,
      // An attempt that is cut off here may have arrived.
      reachedServer: running ? further(this.reached, 'maybe') : this.reached,
      attempts: this.records ?? [],
      notRetriedBecause: failure.because,
      retryAfterMs: failure.retryAfterMs,
      cause: failure.cause,
    });
  }

  // ── what is told ──

  private record(end: AttemptEnd, status: { readonly code: StatusCode; readonly details: string }): void {
    const { peer } = end;
    this.records ??= [];
    if (this.records.length === KEPT_RECORDS) this.records.shift();
    this.records.push({
      number: this.attempts,
      code: status.code,
      details: status.details,
      ...(peer === undefined ? {} : { peer }),
      durationMs: this.context.client.clock.now() - this.attemptStartedAt,
      hedge: false,
    });
  }

  private tellAttempt(verdict: Verdict, decision: RetryDecision): void {
    const { events } = this.context.client;
    const attempt = this.records?.at(-1);
    if (!events.wanted || attempt === undefined) return;
    const next = !decision.retry ? 'none' : decision.kind === 'wait' ? 'wait' : 'retry';
    const { reachedServer } = verdict;
    events.emit({
      type: 'attempt-end',
      path: this.method.path,
      attempt,
      reachedServer,
      next,
      because: decision.because,
    });
  }

  private tellEnd(code: StatusCode, details: string, trailers: Metadata, peer: string | undefined): void {
    const { client } = this.context;
    const { onEnd } = this.options ?? {};
    if (onEnd === undefined && !client.events.everyCallWanted) return;
    const end: CallEnd = {
      code,
      details,
      trailers,
      ...(peer === undefined ? {} : { peer }),
      durationMs: client.clock.now() - this.startedAt,
      attempts: this.records ?? [],
    };
    if (onEnd !== undefined) hook(onEnd, end);
    if (client.events.everyCallWanted) client.events.emit({ type: 'call-end', path: this.method.path, end });
  }

  describe(): ActiveCall {
    const { clock } = this.context.client;
    const shift = clock.epoch() - clock.now();
    const peer = this.attempt?.peer;
    return {
      path: this.method.path,
      kind: this.method.kind,
      ...(peer === undefined ? {} : { peer }),
      startedAt: moment(this.startedAt + shift),
      ...(this.lastMessageAt === undefined ? {} : { lastMessageAt: moment(this.lastMessageAt + shift) }),
      sent: this.sent,
      received: this.received,
      waiting: this.phase === 'waiting',
      cancel: (reason) => {
        const details = reason ?? 'Cancelled on client';
        this.end({ code: StatusCode.CANCELLED, details, reason: 'cancelled', because: 'cancelled' });
      },
    };
  }
}

/** grpc-js's interceptors of one call: those of the call stand in place of the client's. */
function callInterceptors(
  context: MethodContext,
  options: GrpcCallOptions | undefined,
): readonly Interceptor[] | undefined {
  const own = options?.interceptors;
  const providers = options?.interceptor_providers;
  if ((own?.length ?? 0) === 0 && (providers?.length ?? 0) === 0) return context.interceptors;
  // True: providers read path and kinds, which a MethodDescriptor has.
  const definition = context.method as unknown as Parameters<NonNullable<typeof providers>[number]>[0];
  return [...(own ?? []), ...(providers ?? []).map((provider) => provider(definition))];
}

/** A callback of the caller that throws is the caller's bug: it must neither end the call nor go unseen. */
function hook<T>(callback: (value: T) => void, value: T): void {
  try {
    callback(value);
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}
