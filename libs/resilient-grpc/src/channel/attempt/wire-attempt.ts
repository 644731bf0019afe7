import { constants } from 'node:http2';
import { Metadata, type CallOptions, type StatusObject } from '@grpc/grpc-js';
import type { Attempt, AttemptEnd, AttemptListener, AttemptRequest, ResponseHeaders } from '../../call/attempt.js';
import type { AttemptTelemetry } from '../../call/call-telemetry.js';
import { InterceptedMessage } from '../../call/intercepted-message.js';
import { type WireEvidence, classify, isAnswered, isGrpcResponse } from '../../policy/evidence/classify.js';
import { errorMessage } from '../../errors/error-message.js';
import { measuredOutcome } from '../../policy/balancing/least-request.js';
import { OWN_SERIALIZERS } from '../../call/method.js';
import { SHUTDOWN_STATUSES } from '../../policy/evidence/grpc-js-texts.js';
import { StatusCode, statusName } from '../../status/status-code.js';
import type { Clock } from '../../time/clock.js';
import { PeerTimer } from '../../time/peer-timer.js';
import type { SendObstacle } from '../../transport/http2/http2-stream.js';
import type { EndpointLoads } from '../connection/endpoint-loads.js';
import type { CallFacts } from '../subchannel/socket-call.js';
import type { WireChannel } from '../wire-channel.js';
import { GrpcJsCall, headersOf } from './grpc-js-call.js';
import { interceptedCall, type InterceptedAttempt, type InterceptingCallInterface } from './intercepted-call.js';
import { NEVER_SENT, type TransportCall, type TransportCallListener } from './transport-call.js';
import { MAX_LATE_MS, WireCall } from './wire-call.js';

/** Maximum delay of a status, in milliseconds. A grpcio server that is shutting down may send a status up to 4 ms before its GOAWAY. */
const GOAWAY_LAG_MS = 20;
const TIMEOUT_ENDS: ReadonlySet<AttemptEnd['endedHere']> = new Set(['deadline', 'attempt-timeout', 'stream-idle']);
/**
 * Codes other than DEADLINE_EXCEEDED under which servers report that the `grpc-timeout` of a call has passed. Their handlers pass on the
 * error of a database driver or of another call, such as "context canceled".
 */
const TIMEOUT_CODES: ReadonlySet<number> = new Set([StatusCode.CANCELLED, StatusCode.UNKNOWN, StatusCode.INTERNAL]);
/**
 * Minimum share of a sent timeout that must have passed for such a status to count as its end. The server's timer starts later than the
 * client's. However, a server that forwards the deadline to other servers receives their failure slightly before its own deadline.
 */
const MIN_TIMEOUT_SHARE = 0.9;
/** Maximum time in milliseconds by which Node's timers, and therefore grpc-js's deadlines, may fire early. */
const EARLY_MS = 1;
const CREDENTIALS_REMEDY = 'the call credentials did not respond; check their metadata generator';
const REQUESTS_OPEN = 'the request stream has not ended: complete it if the server waits for its end';
/** What the requests of an attempt waited for, as remedy. */
const OBSTACLES: Readonly<Record<SendObstacle, string>> = {
  'stream-limit': 'the request was not sent: the server allows no more streams on the connection',
  'stream-window':
    'the request was not sent to its end: the server, or a proxy, does not read this call (no window of its stream)',
  'connection-window':
    'the request was not sent to its end: the server, or a proxy, does not read other calls on the connection, or leaks their window ' +
    '(no window of the connection)',
  socket: 'the request was not sent to its end: the peer takes no more bytes from the connection',
};
const NO_OPTIONS: CallOptions = {};
const ignore = (): void => undefined;
const IGNORE_EVENTS: AttemptListener = { onHeaders: ignore, onMessage: ignore, onEnd: ignore };

/**
 * One attempt of a call to any kind of method. The object is also the `AttemptEnd` and the listener of the call, so that an attempt needs
 * few objects.
 */
export class WireAttempt implements Attempt, AttemptEnd, InterceptedAttempt, TransportCallListener {
  code: number = StatusCode.OK;
  details = '';
  endedHere: AttemptEnd['endedHere'] = 'no';
  headersReceived = false;
  messagesReceived = 0;
  channelReady = true;
  readonly telemetry: AttemptTelemetry | undefined;

  /** The outermost call: `current`, or the call of the first interceptor. */
  private readonly outer: Pick<TransportCall, 'startRead' | 'halfClose' | 'cancelWithStatus'>;
  private readonly intercepted: InterceptingCallInterface | undefined;
  /** The latest call below the interceptors, which may never create one. */
  private current: TransportCall | undefined;
  /** True if the interceptors created several calls, for example to retry. The evidence of the attempt describes only the latest one. */
  private hasSeveralCalls = false;
  /** First `content-type` of the headers. Nothing else of them is kept, because open streams would hold it. */
  private headersType: string | undefined;
  private status!: StatusObject;
  private ended = false;
  private halfClosed = false;
  /** True if there are interceptors and a response could not be deserialized. */
  private unreadable = false;
  private facts: CallFacts | undefined;
  private delayedStatus: DelayedStatus | undefined;

  constructor(
    private readonly wireChannel: WireChannel,
    private readonly request: AttemptRequest,
    private listener: AttemptListener,
    private readonly clock: Clock,
    /** Start of the attempt, in monotonic milliseconds. */
    readonly startedAt: number,
  ) {
    const { method, deadline, options, interceptors, telemetry } = request;
    this.telemetry = telemetry?.attempt(request.metadata);
    const metadata = this.telemetry?.metadata ?? request.metadata;
    // Counts the attempt before the call starts. The start may detect a closed connection and let a pending replacement take over. If no
    // attempt were counted, the replaced channel would close.
    wireChannel.attemptStarted();
    try {
      if (interceptors === undefined) {
        const call = this.createCall(deadline, options, this);
        this.outer = call;
        call.start(metadata);
      } else {
        const call = interceptedCall(method, deadline, options, interceptors, this);
        this.outer = this.intercepted = call;
        // A copy, because interceptors may change the metadata, which attempts, calls, and even clients share.
        call.start(metadata.clone(), this);
      }
    } catch (error) {
      this.telemetry?.end(StatusCode.INTERNAL, errorMessage(error), undefined);
      wireChannel.attemptEnded();
      throw error;
    }
    // An interceptor may have ended the attempt already.
    if (!this.ended) wireChannel.endpoints?.started(this);
  }

  get responseStream(): boolean {
    return this.request.method.responseStream;
  }

  get measuresLatency(): boolean {
    return this.request.method.kind === 'unary';
  }

  createCall(deadline: number, options: CallOptions = NO_OPTIONS, listener: TransportCallListener): TransportCall {
    const { wireChannel, clock } = this;
    const { method, tried } = this.request;
    const { path, requestSerialize } = method;
    this.hasSeveralCalls = this.current !== undefined;
    this.current =
      wireChannel.transport === 'socket'
        ? new WireCall(
            wireChannel,
            path,
            deadline,
            options,
            listener,
            clock,
            tried,
            OWN_SERIALIZERS.has(requestSerialize),
          )
        : new GrpcJsCall(wireChannel.channel, path, deadline, options, listener, clock);
    return this.current;
  }

  get target(): string {
    return this.wireChannel.channel.getTarget();
  }

  get maxSendBytes(): number {
    return this.wireChannel.maxSendBytes;
  }

  get isOver(): boolean {
    return this.ended || this.endedHere !== 'no';
  }

  onUnreadable(): void {
    this.unreadable = true;
  }

  startRead(): void {
    // Skips this read if there are interceptors and the call is unary or client-streaming, because such a call reads automatically. A
    // client-streaming call must read again after its response, as in grpc-js's own client. Otherwise, its end would not be detected while
    // requests are written.
    const { requestStream, responseStream } = this.request.method;
    const readsItself = this.intercepted !== undefined && !responseStream;
    if (readsItself && !(requestStream && this.messagesReceived > 0)) return;
    this.outer.startRead();
  }

  send(message: unknown, written?: () => void): void {
    const { intercepted, current } = this;
    if (intercepted !== undefined) {
      const payload = message instanceof InterceptedMessage ? message.take() : message;
      intercepted.sendMessageWithContext(written === undefined ? {} : { callback: written }, payload);
      return;
    }
    // Safe: without interceptors, messages are sent as bytes. Those of grpc-js's own client may have write flags.
    const bytes = message as Buffer & { readonly writeFlags?: number };
    this.telemetry?.sent(bytes.length);
    current?.send(bytes, written, bytes.writeFlags);
  }

  halfClose(): void {
    this.halfClosed = true;
    this.outer.halfClose();
  }

  cancel(why: AttemptEnd['endedHere'], code: number, details: string): void {
    if (this.ended) return;
    this.endedHere = why;
    // The call has already ended, so the new status replaces the delayed one.
    if (this.delayedStatus !== undefined) this.delayedStatus.replace({ code, details, metadata: new Metadata() });
    else this.outer.cancelWithStatus(code, details);
  }

  abandon(because?: 'deadline'): void {
    this.listener = IGNORE_EVENTS;
    // Reported now, because the status of the call arrives later.
    const code = because === 'deadline' ? StatusCode.DEADLINE_EXCEEDED : StatusCode.CANCELLED;
    this.telemetry?.end(code, '', this.peer, this.headersReceived);
    this.cancel(because ?? 'cancel', StatusCode.CANCELLED, 'Cancelled on client');
  }

  /** Receives headers from an interceptor. */
  onReceiveMetadata(metadata: Metadata): void {
    this.onReceiveHeaders(headersOf(metadata));
  }

  onReceiveHeaders(headers: ResponseHeaders): void {
    if (this.ended) return;
    this.headersReceived = true;
    this.headersType = headers.contentType;
    this.wireChannel.endpoints?.answered(this);
    if (this.wireChannel.histories.isUndecided) this.wireChannel.histories.answeredTo(this.address, this.startedAt);
    this.listener.onHeaders(headers);
  }

  /** Receives bytes. With interceptors: a message, or `null` if the call ended without one. */
  onReceiveMessage(received: unknown): void {
    if (this.ended || this.endedHere !== 'no' || received === null) return;
    if (this.intercepted !== undefined && !this.headersReceived) {
      // Reports empty headers first, because an interceptor may forward a message without headers. The listener may then end the attempt,
      // so the checks are repeated.
      this.onReceiveMetadata(new Metadata());
      this.onReceiveMessage(received);
      return;
    }
    let message: unknown = received;
    if (this.intercepted === undefined) {
      // Safe: without interceptors, messages arrive as bytes.
      const { length } = received as Buffer;
      this.telemetry?.received(length);
      const { maxReceiveBytes } = this.request;
      if (length > maxReceiveBytes) {
        const details = `Received message larger than max (${String(length)} vs ${String(maxReceiveBytes)})`;
        this.cancel('protocol', StatusCode.RESOURCE_EXHAUSTED, details);
        return;
      }
      try {
        message = this.request.method.responseDeserialize(received as Buffer);
      } catch (error) {
        this.cancel('protocol', StatusCode.INTERNAL, `Response message parsing error: ${errorMessage(error)}`);
        return;
      }
    }
    this.messagesReceived += 1;
    this.listener.onMessage(message);
  }

  onReceiveStatus(status: StatusObject): void {
    if (this.ended || this.delayedStatus !== undefined) return;
    if (status.code === StatusCode.OK || !this.tryDelay(status)) this.end(status);
  }

  private end(status: StatusObject): void {
    this.ended = true;
    this.code = status.code;
    this.details = status.details;
    this.status = status;
    if (status.code !== StatusCode.OK) {
      this.channelReady = this.wireChannel.ready;
      if (this.endedHere === 'no') this.endedHere = this.detectLocalEnd(status.code);
    }
    if (this.endedHere !== 'no') this.reportTimeout();
    // Reports a trailers-only response, which has no headers, so `onReceiveMetadata()` did not report it.
    if (this.wireChannel.histories.isUndecided && !this.headersReceived && isAnswered(this, classify(this))) {
      this.wireChannel.histories.answeredTo(this.address, this.startedAt);
    }
    if (this.telemetry !== undefined) {
      // A lost connection surfaces as several codes. Telemetry reports the status that callers receive.
      const { code, details } = classify(this);
      this.telemetry.end(code, details, this.peer, this.headersReceived || this.wire?.httpStatus !== undefined);
    }
    const { loads } = this.wireChannel;
    if (loads !== undefined) this.reportLatency(loads);
    this.wireChannel.endpoints?.ended(this);
    this.wireChannel.attemptEnded();
    this.listener.onEnd(this);
  }

  /**
   * Delays `status` if servers send this status during shutdown, or if trailers are missing, because the GOAWAY that proves the shutdown, or
   * the end of the connection, may arrive later. Returns false for other statuses, if the GOAWAY has already arrived, if the connection has
   * closed or is unknown, or if a GOAWAY would not change the outcome.
   */
  private tryDelay(status: StatusObject): boolean {
    const { deadline, mayRepeat } = this.request;
    if (!mayRepeat || this.endedHere !== 'no') return false;
    const isShutdown = !this.headersReceived && SHUTDOWN_STATUSES.has(`${String(status.code)} ${status.details}`);
    if (!isShutdown && (this.responseStream || this.wireFacts?.evidence.lacksTrailers !== true)) return false;
    // No time remains for another attempt.
    if (deadline - this.clock.epoch() <= GOAWAY_LAG_MS) return false;
    const { connection, evidence } = this.wireFacts ?? {};
    this.facts = undefined;
    if (connection === undefined || evidence?.acceptsNoStreams === true) return false;
    this.delayedStatus = new DelayedStatus(status, connection, this.clock, (delayed) => {
      this.end(delayed);
    });
    return true;
  }

  /** Reports that the attempt took too long, as evidence against its connection. */
  private reportTimeout(): void {
    if (!TIMEOUT_ENDS.has(this.endedHere)) return;
    // The server's own report of a timeout shows that the connection works.
    if (!this.headersReceived && isGrpcResponse(this)) return;
    // Reports 0 for a response stream that had received headers: it was waiting for its next message, and the start of that wait is
    // unknown.
    const hadHeaders = this.request.method.responseStream && this.headersReceived;
    this.wireChannel.timedOut(this.address, this.startedAt, hadHeaders ? 0 : this.clock.now() - this.startedAt);
  }

  /** Reports the latency of a unary attempt. Skips other attempts, because the application determines their duration. */
  private reportLatency(loads: EndpointLoads): void {
    const { peer } = this;
    const { requestStream, responseStream } = this.request.method;
    if (peer === undefined || requestStream || responseStream) return;
    const outcome = measuredOutcome(classify(this));
    if (outcome !== undefined) loads.measured(peer, this.clock.now() - this.startedAt, outcome);
  }

  /**
   * Returns why this side ended the attempt without `cancel()`: a response could not be read below the interceptors, or the deadline or
   * the attempt timeout passed. Returns 'no' if this side did not end the attempt.
   */
  private detectLocalEnd(code: number): AttemptEnd['endedHere'] {
    if (this.unreadable) return 'protocol';
    if (code === StatusCode.DEADLINE_EXCEEDED && this.clock.epoch() >= this.request.deadline - EARLY_MS)
      return 'deadline';
    return this.reportsSentTimeout(code) ? 'attempt-timeout' : 'no';
  }

  /** True if the server reports, under whatever code, that the timeout sent to it has passed. Replaces the details. */
  private reportsSentTimeout(code: number): boolean {
    const { sentTimeout } = this.request;
    if (sentTimeout === undefined || this.clock.now() - this.startedAt < sentTimeout.ms * MIN_TIMEOUT_SHARE)
      return false;
    const isNamed = code === StatusCode.DEADLINE_EXCEEDED;
    if (!isNamed && (this.headersReceived || !TIMEOUT_CODES.has(code) || !isGrpcResponse(this))) return false;
    this.details = isNamed
      ? sentTimeout.details
      : `${sentTimeout.details}; the server's status: ${statusName(code)}: ${this.details}`;
    return true;
  }

  get metadata(): Metadata {
    return this.status.metadata;
  }

  get picked(): boolean {
    // An earlier call of the interceptors may have reached the server.
    return this.hasSeveralCalls || this.current?.isPlaced === true;
  }

  get peer(): string | undefined {
    return this.current?.peer;
  }

  get authContext(): Attempt['authContext'] {
    return this.current?.authContext;
  }

  /** Address of the connection in the channel's history: the peer, followed by a number if this is not the first connection to it. */
  private get address(): string | undefined {
    return this.current?.placement?.address ?? this.peer;
  }

  get wire(): WireEvidence | undefined {
    if (this.unsentFor !== undefined) return NEVER_SENT;
    const evidence = this.wireFacts?.evidence;
    if (evidence === undefined || !this.hasSeveralCalls) return evidence;
    // Removes the evidence that the server did not process the latest call, because the server may have processed an earlier call.
    const resetCode = evidence.resetCode === constants.NGHTTP2_REFUSED_STREAM ? undefined : evidence.resetCode;
    return { ...evidence, unprocessed: undefined, resetCode };
  }

  get remedy(): string | undefined {
    // No remedy after headers, because they prove that the server responded.
    if (this.headersReceived || !TIMEOUT_ENDS.has(this.endedHere)) return undefined;
    if (this.unsentFor !== undefined) return this.unsentFor === 'call credentials' ? CREDENTIALS_REMEDY : undefined;
    const lateMs = this.clock.epoch() - this.request.deadline;
    if (lateMs > MAX_LATE_MS)
      return `this process was blocked, and noticed the deadline ${(lateMs / 1_000).toFixed(1)} s late`;
    const { obstacle } = this;
    if (obstacle !== undefined) return OBSTACLES[obstacle];
    const silence = this.wireChannel.silenceRemedy(this.address, this.startedAt);
    if (this.halfClosed || !this.request.method.requestStream) return silence;
    return silence === undefined ? REQUESTS_OPEN : `${REQUESTS_OPEN}; ${silence}`;
  }

  get unsentBecause(): string | undefined {
    const { unsentFor } = this;
    return unsentFor === undefined || (this.ended && this.endedHere === 'no') ? undefined : `waiting for ${unsentFor}`;
  }

  /** What the only call of the attempt waits for; `undefined` if something may have been sent. Nothing is sent once the attempt is over. */
  private get unsentFor(): TransportCall['waitsFor'] {
    return this.hasSeveralCalls ? undefined : this.current?.waitsFor;
  }

  get contentType(): string | undefined {
    return this.headersType ?? headersOf(this.metadata).contentType;
  }

  get obstacle(): SendObstacle | undefined {
    return this.current?.placement?.obstacle;
  }

  get connection(): object | undefined {
    return this.wireFacts?.connection;
  }

  private get wireFacts(): CallFacts | undefined {
    return (this.facts ??= this.current?.placement?.facts);
  }
}

/** Delivers a status as soon as `connection` receives GOAWAY or closes, or after 20 ms. */
class DelayedStatus {
  private readonly timer: PeerTimer;
  private isDue = false;

  constructor(
    private status: StatusObject,
    private readonly connection: CallFacts['connection'],
    private readonly clock: Clock,
    private readonly deliver: (status: StatusObject) => void,
  ) {
    this.timer = new PeerTimer(clock, GOAWAY_LAG_MS, this.due, true);
    connection.endListeners.add(this.due);
  }

  /** Delivers `status` instead, in the next turn of the event loop. */
  replace(status: StatusObject): void {
    this.status = status;
    this.due();
  }

  private readonly due = (): void => {
    if (this.isDue) return;
    this.isDue = true;
    this.timer.clear();
    this.connection.endListeners.delete(this.due);
    // By the next turn, Node and grpc-js have handled the GOAWAY.
    this.clock.defer(() => {
      this.deliver(this.status);
    });
  };
}
