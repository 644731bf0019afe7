import { Metadata, type StatusObject } from '@grpc/grpc-js';
import type { Attempt, AttemptEnd, AttemptListener, AttemptRequest, ResponseHeaders } from '../../call/attempt.js';
import type { AttemptTelemetry } from '../../call/call-telemetry.js';
import { classify, isAnswered, isGrpcResponse, type WireEvidence } from '../../policy/evidence/classify.js';
import type { LocalFailure } from '../../policy/evidence/local-failure.js';
import { errorMessage } from '../../errors/error-message.js';
import { measuredOutcome } from '../../policy/balancing/least-request.js';
import { SHUTDOWN_STATUSES } from '../../policy/evidence/grpc-js-texts.js';
import { StatusCode, statusName } from '../../status/status-code.js';
import type { Clock } from '../../time/clock.js';
import { PeerTimer } from '../../time/peer-timer.js';
import type { SendObstacle } from '../../transport/http2/http2-stream.js';
import type { AddressHistories } from '../connection/address-histories.js';
import type { EndpointLoads } from '../connection/endpoint-loads.js';
import type { WireStatus } from '../subchannel/header-fields.js';
import type { SubchannelConnection } from '../subchannel/subchannel-connection.js';
import type { Wire } from './wire.js';

/** Maximum delay of a status, in milliseconds. A grpcio server that is shutting down may send a status up to 4 ms before its GOAWAY. */
const GOAWAY_LAG_MS = 20;
/** Delay in milliseconds of a deadline above which this process is assumed not to have run. */
export const MAX_LATE_MS = 50;
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
export const EARLY_MS = 1;
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
const ignore = (): void => undefined;
const IGNORE_EVENTS: AttemptListener = { onHeaders: ignore, onMessage: ignore, onEnd: ignore };

/** What attempts use of their wire. */
export interface AttemptWire extends Pick<Wire, 'channel' | 'endpoints' | 'silenceRemedy'> {
  readonly ready: boolean;
  readonly histories: Pick<AddressHistories, 'isUndecided' | 'answeredTo'>;
  /** Loads of the endpoints; `undefined` if no policy uses them. */
  readonly loads: EndpointLoads | undefined;
  /** Maximum size of a request, in bytes. */
  readonly maxSendBytes: number;
  attemptStarted(): void;
  attemptEnded(): void;
  /** Reports that the client ended an attempt on the connection to `peer` because the attempt took too long. */
  timedOut(peer: string | undefined, startedAt: number, waitedMs: number): void;
}

/** Evidence of an attempt that has never had a stream. */
export const NEVER_SENT: WireEvidence = {
  unprocessed: 'never-sent',
  httpStatus: undefined,
  resetCode: undefined,
  lacksTrailers: false,
  closedHere: false,
  goawayCode: undefined,
  acceptsNoStreams: false,
  timedOut: false,
};

/** Details of an attempt whose deadline passed before it was sent. */
export const EXPIRED = 'Deadline exceeded before the attempt was sent';

/** What attempts with and without interceptors have in common: the facts of their end, and how they are abandoned. */
export abstract class BaseAttempt<W extends AttemptWire> {
  code: number = StatusCode.OK;
  details = '';
  endedHere: AttemptEnd['endedHere'] = 'no';
  failure: LocalFailure | undefined = undefined;
  headersReceived = false;
  messagesReceived = 0;
  channelReady = true;
  readonly telemetry: AttemptTelemetry | undefined;
  protected hasEnded = false;

  constructor(
    protected readonly owner: W,
    readonly request: AttemptRequest,
    protected listener: AttemptListener,
    readonly clock: Clock,
  ) {
    this.telemetry = request.telemetry?.attempt(request.metadata);
  }

  abstract readonly peer: string | undefined;
  abstract cancel(why: AttemptEnd['endedHere'], code: number, details: string): void;

  get responseStream(): boolean {
    return this.request.method.responseStream;
  }

  abandon(because?: 'deadline'): void {
    this.listener = IGNORE_EVENTS;
    // Reported now, because the status of the call arrives later.
    const code = because === 'deadline' ? StatusCode.DEADLINE_EXCEEDED : StatusCode.CANCELLED;
    this.telemetry?.end(code, '', this.peer, this.headersReceived);
    this.cancel(because ?? 'cancel', StatusCode.CANCELLED, 'Cancelled on client');
  }
}

/**
 * One attempt of a call to any kind of method, on either transport. The object is also the `AttemptEnd`, so that an attempt needs few objects.
 * Nothing is reported inside of a method of `Attempt`.
 */
export abstract class WireAttempt<W extends AttemptWire = AttemptWire>
  extends BaseAttempt<W>
  implements Attempt, AttemptEnd
{
  /** First `content-type` of the headers. Nothing else of them is kept, because open streams would hold it. */
  private headersType: string | undefined = undefined;
  private status!: StatusObject;
  private halfClosed = false;
  private delayedStatus: DelayedStatus | undefined = undefined;

  constructor(
    owner: W,
    request: AttemptRequest,
    listener: AttemptListener,
    clock: Clock,
    /** Start of the attempt, in monotonic milliseconds. */
    readonly startedAt: number,
  ) {
    super(owner, request, listener, clock);
  }

  /** Starts the call. Called once, directly after the construction. */
  begin(): this {
    const { owner, telemetry, request } = this;
    // Counts the attempt before the call starts. The start may detect a closed connection and let a pending replacement take over. If no
    // attempt were counted, the replaced channel would close.
    owner.attemptStarted();
    try {
      this.start(telemetry?.metadata ?? request.metadata);
    } catch (error) {
      telemetry?.end(StatusCode.INTERNAL, errorMessage(error), undefined);
      owner.attemptEnded();
      throw error;
    }
    owner.endpoints?.started(this);
    return this;
  }

  protected abstract start(metadata: Metadata): void;
  /** Ends the call on this side; `receiveStatus()` follows. Does nothing if the call has ended. */
  protected abstract endHere(code: number, details: string): void;
  protected abstract sendBytes(message: Buffer, written: (() => void) | undefined, flags: number): void;
  protected abstract endRequests(): void;
  abstract startRead(): void;
  /** True if the call may have a connection. */
  abstract readonly picked: boolean;
  abstract readonly authContext: Attempt['authContext'];
  abstract readonly connection: SubchannelConnection | undefined;
  abstract readonly obstacle: SendObstacle | undefined;
  abstract readonly wire: WireEvidence | undefined;
  /** What the call waits for, so that no part of it has been sent; `undefined` if it may have been sent. */
  protected abstract readonly waitsFor: 'a connection' | 'call credentials' | undefined;

  get measuresLatency(): boolean {
    return this.request.method.kind === 'unary';
  }

  /** @param flags write flags of grpc-js, which messages of its own client have as a property */
  send(message: unknown, written?: () => void, flags?: number): void {
    // Safe: messages are sent as bytes.
    const bytes = message as Buffer & { readonly writeFlags?: number };
    this.telemetry?.sent(bytes.length);
    this.sendBytes(bytes, written, flags ?? bytes.writeFlags ?? 0);
  }

  halfClose(): void {
    this.halfClosed = true;
    this.endRequests();
  }

  cancel(why: AttemptEnd['endedHere'], code: number, details: string): void {
    if (this.hasEnded) return;
    this.endedHere = why;
    // The call has already ended, so the new status replaces the delayed one.
    if (this.delayedStatus === undefined) this.endHere(code, details);
    else {
      this.failure = undefined;
      this.delayedStatus.replace({ code, details, metadata: new Metadata() });
    }
  }

  protected receiveHeaders(headers: ResponseHeaders): void {
    if (this.hasEnded) return;
    this.headersReceived = true;
    this.headersType = headers.contentType;
    this.owner.endpoints?.answered(this);
    if (this.owner.histories.isUndecided) this.owner.histories.answeredTo(this.address, this.startedAt);
    this.listener.onHeaders(headers);
  }

  protected receiveMessage(bytes: Buffer): void {
    if (this.hasEnded || this.endedHere !== 'no') return;
    const { length } = bytes;
    this.telemetry?.received(length);
    const { maxReceiveBytes } = this.request;
    if (length > maxReceiveBytes) {
      const details = `Received message larger than max (${String(length)} vs ${String(maxReceiveBytes)})`;
      this.cancel('protocol', StatusCode.RESOURCE_EXHAUSTED, details);
      return;
    }
    let message: unknown;
    try {
      message = this.request.method.responseDeserialize(bytes);
    } catch (error) {
      this.cancel('protocol', StatusCode.INTERNAL, `Response message parsing error: ${errorMessage(error)}`);
      return;
    }
    this.messagesReceived += 1;
    this.listener.onMessage(message);
  }

  protected receiveStatus(status: WireStatus): void {
    if (this.hasEnded || this.delayedStatus !== undefined) return;
    this.failure = status.failure;
    if (status.code === StatusCode.OK || !this.tryDelay(status)) this.end(status);
  }

  private end(status: StatusObject): void {
    this.hasEnded = true;
    this.code = status.code;
    this.details = status.details;
    this.status = status;
    if (status.code !== StatusCode.OK) {
      this.channelReady = this.owner.ready;
      if (this.endedHere === 'no') this.endedHere = this.detectLocalEnd(status.code);
    }
    if (this.endedHere !== 'no') this.reportTimeout();
    // Reports a trailers-only response, which has no headers, so `receiveHeaders()` did not report it.
    if (this.owner.histories.isUndecided && !this.headersReceived && isAnswered(this, classify(this))) {
      this.owner.histories.answeredTo(this.address, this.startedAt);
    }
    if (this.telemetry !== undefined) {
      // A lost connection surfaces as several codes. Telemetry reports the status that callers receive.
      const { code, details } = classify(this);
      this.telemetry.end(code, details, this.peer, this.headersReceived || this.wire?.httpStatus !== undefined);
    }
    const { loads } = this.owner;
    if (loads !== undefined) this.reportLatency(loads);
    this.owner.endpoints?.ended(this);
    this.owner.attemptEnded();
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
    const { connection, wire } = this;
    const isShutdown = !this.headersReceived && SHUTDOWN_STATUSES.has(`${String(status.code)} ${status.details}`);
    if (!isShutdown && (this.responseStream || wire?.lacksTrailers !== true)) return false;
    // No time remains for another attempt.
    if (deadline - this.clock.epoch() <= GOAWAY_LAG_MS) return false;
    if (connection === undefined || wire?.acceptsNoStreams === true) return false;
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
    this.owner.timedOut(this.address, this.startedAt, hadHeaders ? 0 : this.clock.now() - this.startedAt);
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
   * Returns why this side ended the attempt without `cancel()`: the deadline or the attempt timeout passed. Returns 'no' if this side did
   * not end the attempt.
   */
  private detectLocalEnd(code: number): AttemptEnd['endedHere'] {
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

  /** Address of the connection in the channel's history: the peer, followed by a number if this is not the first connection to it. */
  private get address(): string | undefined {
    return this.connection?.address ?? this.peer;
  }

  get remedy(): string | undefined {
    // No remedy after headers, because they prove that the server responded.
    if (this.headersReceived || !TIMEOUT_ENDS.has(this.endedHere)) return undefined;
    if (this.waitsFor !== undefined) return this.waitsFor === 'call credentials' ? CREDENTIALS_REMEDY : undefined;
    const lateMs = this.clock.epoch() - this.request.deadline;
    if (lateMs > MAX_LATE_MS)
      return `this process was blocked, and noticed the deadline ${(lateMs / 1_000).toFixed(1)} s late`;
    const { obstacle } = this;
    if (obstacle !== undefined) return OBSTACLES[obstacle];
    const silence = this.owner.silenceRemedy(this.address, this.startedAt);
    if (this.halfClosed || !this.request.method.requestStream) return silence;
    return silence === undefined ? REQUESTS_OPEN : `${REQUESTS_OPEN}; ${silence}`;
  }

  get unsentBecause(): string | undefined {
    const { waitsFor } = this;
    return waitsFor === undefined || (this.hasEnded && this.endedHere === 'no') ? undefined : `waiting for ${waitsFor}`;
  }

  get contentType(): string | undefined {
    return this.headersType ?? (this.hasEnded ? contentTypeOf(this.metadata) : undefined);
  }
}

export function contentTypeOf(metadata: Metadata): string | undefined {
  return metadata.get('content-type')[0]?.toString();
}

/** Delivers a status as soon as `connection` receives GOAWAY or closes, or after 20 ms. */
class DelayedStatus {
  private readonly timer: PeerTimer;
  private isDue = false;

  constructor(
    private status: StatusObject,
    private readonly connection: SubchannelConnection,
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
