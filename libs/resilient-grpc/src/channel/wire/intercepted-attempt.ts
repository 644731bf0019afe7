import { constants } from 'node:http2';
import { Metadata, propagate, type CallOptions, type Interceptor, type StatusObject } from '@grpc/grpc-js';
import type { Attempt, AttemptEnd, AttemptListener, AttemptRequest, ResponseHeaders } from '../../call/attempt.js';
import { InterceptedMessage } from '../../call/intercepted-message.js';
import { errorMessage, serializationFailure } from '../../errors/error-message.js';
import { classify, type WireEvidence } from '../../policy/evidence/classify.js';
import type { LocalFailure } from '../../policy/evidence/local-failure.js';
import { StatusCode } from '../../status/status-code.js';
import { moment, type Clock } from '../../time/clock.js';
import type { SendObstacle } from '../../transport/http2/http2-stream.js';
import { BaseAttempt, EARLY_MS, NEVER_SENT, type AttemptWire, type WireAttempt } from './wire-attempt.js';

type NextCall = Parameters<Interceptor>[1];
type InterceptingCallInterface = ReturnType<NextCall>;
type InterceptorOptions = Parameters<NextCall>[0];
type Listener = Parameters<InterceptingCallInterface['start']>[1];
type MessageContext = Parameters<InterceptingCallInterface['sendMessageWithContext']>[0];

/** Starts an attempt without interceptors. */
export type StartBelow = (request: AttemptRequest, listener: AttemptListener) => WireAttempt;

const INTERCEPTOR = 'waiting for an interceptor';
const ignore = (): void => undefined;

/**
 * An attempt whose messages, metadata, and status pass through interceptors of grpc-js. Below them, `BottomCall` starts an attempt. The object
 * is also the `AttemptEnd`: the interceptors determine the status, and the attempt below has the evidence.
 */
export class InterceptedAttempt extends BaseAttempt<AttemptWire> implements Attempt, AttemptEnd {
  metadata!: Metadata;
  private readonly outer: InterceptingCallInterface;
  /** The latest call below the interceptors, which may never create one. */
  private bottom: BottomCall | undefined = undefined;
  /** True if the interceptors created several calls, for example to retry. The evidence of the attempt describes only the latest one. */
  private hasSeveralCalls = false;

  constructor(
    owner: AttemptWire,
    request: AttemptRequest,
    listener: AttemptListener,
    clock: Clock,
    readonly startBelow: StartBelow,
  ) {
    super(owner, request, listener, clock);
    const { method, deadline, options, interceptors = [] } = request;
    // A copy, because interceptors may change the metadata, which attempts, calls, and even clients share.
    const metadata = (this.telemetry?.metadata ?? request.metadata).clone();
    // Counts the attempt from its start, because an interceptor may create its call later. A replaced channel must not close until then.
    owner.attemptStarted();
    const bottom: NextCall = (final) => {
      this.hasSeveralCalls = this.bottom !== undefined;
      return (this.bottom = new BottomCall(this, final));
    };
    try {
      const first = interceptors.reduceRight<NextCall>((next, intercept) => (given) => intercept(given, next), bottom);
      // Safe: interceptors read the path, the kind, and the two codecs, and a MethodDescriptor has them all.
      const definition = method as unknown as InterceptorOptions['method_definition'];
      this.outer = first({ ...withDeadline(options, deadline), method_definition: definition });
      this.outer.start(metadata, this);
    } catch (error) {
      this.telemetry?.end(StatusCode.INTERNAL, errorMessage(error), undefined);
      owner.attemptEnded();
      throw error;
    }
  }

  get target(): string {
    return this.owner.channel.getTarget();
  }

  get maxSendBytes(): number {
    return this.owner.maxSendBytes;
  }

  /** True if the attempt is over. No part of it may be sent from then on. */
  get isOver(): boolean {
    return this.hasEnded || this.endedHere !== 'no';
  }

  startRead(): void {
    // A unary or client-streaming call reads automatically. A client-streaming call must read again after its response, as in grpc-js's own
    // client. Otherwise, its end would not be detected while requests are written.
    const { requestStream, responseStream } = this.request.method;
    if (responseStream || (requestStream && this.messagesReceived > 0)) this.outer.startRead();
  }

  send(message: unknown, written?: () => void): void {
    const payload = message instanceof InterceptedMessage ? message.take() : message;
    this.outer.sendMessageWithContext(written === undefined ? {} : { callback: written }, payload);
  }

  halfClose(): void {
    this.outer.halfClose();
  }

  cancel(why: AttemptEnd['endedHere'], code: number, details: string): void {
    if (this.hasEnded) return;
    this.endedHere = why;
    this.outer.cancelWithStatus(code, details);
    // An interceptor may have ignored the cancellation.
    const { below } = this;
    if (below?.unsentBecause !== undefined) below.cancel(why, code, details);
  }

  // ── from the interceptors ──

  onReceiveMetadata(metadata: Metadata): void {
    if (this.hasEnded) return;
    this.headersReceived = true;
    this.listener.onHeaders({ metadata, contentType: this.contentType });
  }

  /** Receives a message, or `null` if the call ended without one. */
  onReceiveMessage(message: unknown): void {
    if (this.isOver || message === null) return;
    if (this.headersReceived) {
      this.messagesReceived += 1;
      this.listener.onMessage(message);
      return;
    }
    // An interceptor may forward a message without headers. The listener may then end the attempt, so the checks are repeated.
    this.onReceiveMetadata(new Metadata());
    this.onReceiveMessage(message);
  }

  onReceiveStatus(status: StatusObject): void {
    if (this.hasEnded) return;
    this.hasEnded = true;
    const { code, details, metadata } = status;
    this.code = code;
    this.details = details;
    this.metadata = metadata;
    if (code !== StatusCode.OK) {
      this.channelReady = this.owner.ready;
      if (this.bottom?.hasSent(status) === true) this.failure = this.bottom.failure;
      if (this.endedHere === 'no') this.endedHere = this.detectLocalEnd(code);
    }
    if (this.telemetry !== undefined) {
      const verdict = classify(this);
      const isAnswered = this.headersReceived || this.wire?.httpStatus !== undefined;
      this.telemetry.end(verdict.code, verdict.details, this.peer, isAnswered);
    }
    this.owner.attemptEnded();
    this.listener.onEnd(this);
  }

  /** Returns why this side ended the attempt without `cancel()`; 'no' if it did not. */
  private detectLocalEnd(code: number): AttemptEnd['endedHere'] {
    const ended = this.below?.endedHere;
    if (ended === 'protocol') return ended;
    const isDue = ended === 'deadline' || this.clock.epoch() >= this.request.deadline - EARLY_MS;
    return code === StatusCode.DEADLINE_EXCEEDED && isDue ? 'deadline' : 'no';
  }

  // ── evidence ──

  private get below(): WireAttempt | undefined {
    return this.bottom?.attempt;
  }

  /** True if the only call below the interceptors has not begun. */
  private get isUnsent(): boolean {
    return !this.hasSeveralCalls && this.bottom !== undefined && this.below === undefined;
  }

  get picked(): boolean {
    // An earlier call of the interceptors may have reached the server.
    return this.hasSeveralCalls || this.below?.picked === true;
  }

  get peer(): string | undefined {
    return this.below?.peer;
  }

  get authContext(): Attempt['authContext'] {
    return this.below?.authContext;
  }

  get connection(): object | undefined {
    return this.below?.connection;
  }

  get obstacle(): SendObstacle | undefined {
    return this.below?.obstacle;
  }

  get contentType(): string | undefined {
    return this.below?.contentType;
  }

  get remedy(): string | undefined {
    return this.headersReceived ? undefined : this.below?.remedy;
  }

  get wire(): WireEvidence | undefined {
    if (this.isUnsent) return NEVER_SENT;
    const evidence = this.below?.wire;
    if (evidence === undefined || !this.hasSeveralCalls) return evidence;
    // Removes the evidence that the server did not process the latest call, because the server may have processed an earlier call.
    const resetCode = evidence.resetCode === constants.NGHTTP2_REFUSED_STREAM ? undefined : evidence.resetCode;
    return { ...evidence, unprocessed: undefined, resetCode };
  }

  get unsentBecause(): string | undefined {
    if (this.hasSeveralCalls) return undefined;
    if (!this.isUnsent) return this.below?.unsentBecause;
    return this.hasEnded && this.endedHere === 'no' ? undefined : INTERCEPTOR;
  }
}

/**
 * The innermost call, below all interceptors. Replaces a class that grpc-js does not export, and gives interceptors the same guarantees.
 * Messages are objects. A unary or client-streaming call starts to read automatically, and delivers `null` if it ends without a message.
 */
class BottomCall implements InterceptingCallInterface, AttemptListener {
  attempt: WireAttempt | undefined = undefined;
  /** What this side observed. */
  failure: LocalFailure | undefined = undefined;
  private readonly method = this.owner.request.method;
  private listener: Listener;
  private hasMessage = false;
  private isReadPending = false;
  /** Metadata of a call that starts with its only request, so that nothing is sent if the request cannot be serialized. */
  private heldMetadata: Metadata | undefined;
  /** Status of a call that ended before it was sent. */
  private early: Pick<StatusObject, 'code' | 'details'> | undefined;
  private sent: Pick<StatusObject, 'code' | 'details'> | undefined;

  constructor(
    private readonly owner: InterceptedAttempt,
    private readonly options: CallOptions,
  ) {}

  /** True if `status` is the one that the interceptors received. */
  hasSent({ code, details }: StatusObject): boolean {
    return this.sent?.code === code && this.sent.details === details;
  }

  start(metadata: Metadata, listener?: Listener): void {
    this.listener = listener;
    this.heldMetadata = metadata;
    // An interceptor may start the call after it was cancelled.
    if (this.method.requestStream || this.early !== undefined) this.begin();
  }

  private begin(): void {
    const { heldMetadata: metadata, owner, options } = this;
    if (metadata === undefined) return;
    this.heldMetadata = undefined;
    if (owner.isOver) this.early ??= { code: StatusCode.CANCELLED, details: 'Cancelled before it was sent' };
    const { early } = this;
    if (early !== undefined) {
      owner.clock.defer(() => this.end({ ...early, metadata: new Metadata() }));
      return;
    }
    const { telemetry } = owner;
    const sizes = telemetry && {
      attempt: () => ({
        metadata,
        sent: (bytes: number) => telemetry.sent(bytes),
        received: (bytes: number) => telemetry.received(bytes),
        end: ignore,
      }),
    };
    const deadline = effectiveDeadline(options);
    const request = { ...owner.request, metadata, options, deadline, interceptors: undefined, telemetry: sizes };
    // The limit of the channel applies.
    this.attempt = owner.startBelow({ ...request, maxReceiveBytes: Infinity }, this);
    if (this.isReadPending || !this.method.responseStream) this.attempt.startRead();
  }

  sendMessageWithContext({ callback, flags }: MessageContext, message: unknown): void {
    let bytes: Buffer;
    try {
      bytes = this.method.requestSerialize(message);
    } catch (error) {
      const { code, details } = serializationFailure(error);
      this.refuse(code, details, 'request-not-serializable');
      return;
    }
    const { maxSendBytes } = this.owner;
    if (bytes.length > maxSendBytes) {
      const details = `Attempted to send message with a size larger than ${String(maxSendBytes)}`;
      this.refuse(StatusCode.RESOURCE_EXHAUSTED, details, 'request-too-large');
      return;
    }
    this.begin();
    this.attempt?.send(bytes, callback, flags);
  }

  private refuse(code: number, details: string, failure: LocalFailure): void {
    this.failure = failure;
    this.cancelWithStatus(code, details);
  }

  sendMessage(message: unknown): void {
    this.sendMessageWithContext({}, message);
  }

  startRead(): void {
    if (this.attempt === undefined) this.isReadPending = true;
    else this.attempt.startRead();
  }

  halfClose(): void {
    this.begin();
    this.attempt?.halfClose();
  }

  cancelWithStatus(code: number, details: string): void {
    const { attempt, owner } = this;
    if (attempt !== undefined) attempt.cancel(owner.endedHere === 'no' ? 'cancel' : owner.endedHere, code, details);
    else {
      this.early ??= { code, details };
      // Reports the status, and sends nothing.
      this.begin();
    }
  }

  getPeer(): string {
    return this.attempt?.peer ?? this.owner.target;
  }

  getAuthContext(): ReturnType<InterceptingCallInterface['getAuthContext']> {
    return this.attempt?.authContext ?? null;
  }

  onHeaders({ metadata }: ResponseHeaders): void {
    this.listener?.onReceiveMetadata?.(metadata);
  }

  onMessage(message: unknown): void {
    this.hasMessage = true;
    this.listener?.onReceiveMessage?.(message);
  }

  onEnd({ code, details, metadata, failure }: AttemptEnd): void {
    this.failure ??= failure;
    // Interceptors may copy it.
    this.end({ code, details, metadata });
  }

  private end(status: StatusObject): void {
    this.sent = { code: status.code, details: status.details };
    if (!this.hasMessage && !this.method.responseStream) this.listener?.onReceiveMessage?.(null);
    this.listener?.onReceiveStatus?.(status);
  }
}

/**
 * Returns `options` for interceptors. As with grpc-js's own client, `deadline` is the caller's value, or absent, because an interceptor may
 * set a default deadline or expect a `Date`. The value is replaced only if another deadline of the call is earlier, or if grpc-js cannot
 * send it. grpc-js itself applies the deadline of `parent`.
 */
function withDeadline(options: CallOptions | undefined, deadline: number): CallOptions | undefined {
  const given = options?.deadline;
  if (Number(given ?? Infinity) === deadline) return options;
  if (deadline !== Infinity && Number(options?.parent?.getDeadline()) === deadline) return options;
  return { ...options, deadline: given instanceof Date && deadline !== Infinity ? moment(deadline) : deadline };
}

/** Returns the deadline that grpc-js applies to a call with these options: the earlier of `deadline` and the deadline of `parent`. */
function effectiveDeadline({ deadline, parent, propagate_flags: flags }: CallOptions): number {
  const own = Number(deadline ?? Infinity);
  const isPropagated = ((flags ?? propagate.DEFAULTS) & propagate.DEADLINE) !== 0;
  return isPropagated ? Math.min(own, Number(parent?.getDeadline() ?? Infinity)) : own;
}
