import { AsyncResource } from 'node:async_hooks';
import { CallCredentials, Metadata, propagate, type experimental } from '@grpc/grpc-js';
import type { Attempt } from '../../call/attempt.js';
import { OWN_SERIALIZERS } from '../../call/method.js';
import { errorMessage } from '../../errors/error-message.js';
import type { WireEvidence } from '../../policy/evidence/classify.js';
import type { LocalFailure } from '../../policy/evidence/local-failure.js';
import { REQUEST_CODES, StatusCode, statusName } from '../../status/status-code.js';
import { type Timer, MAX_TIMER_MS } from '../../time/clock.js';
import { inflate, isInflatable, type Inflation } from '../../transport/grpc/inflate.js';
import { ResponseStream, type ResponseFailure, type ResponseHandler } from '../../transport/grpc/response-stream.js';
import type { HeaderBlock } from '../../transport/hpack/header-block.js';
import { MAX_BURST_BYTES, MESSAGE_BYTES, type SendObstacle } from '../../transport/http2/http2-stream.js';
import type { ChannelCalls } from '../quirks/channel-internals.js';
import { COMPLETE, DROP, TRANSIENT_FAILURE } from '../quirks/experimental.js';
import { fieldsOf, ReceivedHeaders, statusOf, withTimeout, type WireStatus } from '../subchannel/header-fields.js';
import { statusOfFailure } from '../subchannel/response-failure.js';
import type { SocketSubchannel } from '../subchannel/socket-subchannel.js';
import type { SubchannelConnection } from '../subchannel/subchannel-connection.js';
import { requestMetadata, sharedFields } from './call-metadata.js';
import { OutgoingRequests, type RequestCompression, type RequestWriter } from './outgoing-requests.js';
import { EXPIRED, MAX_LATE_MS, NEVER_SENT, WireAttempt, type AttemptWire } from './wire-attempt.js';

type PickResult = experimental.PickResult;
type Subchannel = experimental.SubchannelInterface;

/** `ConnectivityState.READY` of grpc-js. */
const READY = 2;
/** Class of the empty call credentials of grpc-js, which does not export the class. */
const EmptyCredentials = CallCredentials.createEmpty().constructor;
const NO_CONNECTION = { code: StatusCode.UNAVAILABLE, details: 'No connection established' };
/** Number of header fields of a request without metadata. */
const HEAD_FIELDS = 7;
const ignore = (): void => undefined;

/** A call that has no stream yet. */
export interface UnsentCall {
  /** Called when the next pick may find a connection. */
  pickAgain(): void;
  refuse(code: number, details: string, failure: LocalFailure): void;
}

/** What an attempt uses of its wire. */
interface PickingWire extends AttemptWire {
  readonly calls: ChannelCalls;
  readonly unsent: Set<UnsentCall>;
  /** Adds a call that waits for a connection or for call credentials. */
  addUnsent(call: UnsentCall): void;
  /** Picks the connection of a call; returns `undefined` while there is no load-balancing policy. */
  pick(metadata: Metadata, tried: string[] | undefined, isUnary: boolean): PickResult | undefined;
  /** `undefined` if requests are not compressed. */
  readonly compression: RequestCompression | undefined;
  /** Maximum size of a response, in bytes. */
  readonly maxReceiveBytes: number;
}

/* eslint-disable @typescript-eslint/unbound-method -- `runInAsyncScope` calls them with `this`; closures would be created for each call */

/**
 * An attempt on the transport of this library. It waits until the load-balancing policy picks a READY connection and the call credentials
 * respond, and then runs on that connection. Like grpc-js's channel, it compresses requests, inflates responses, and enforces the deadline.
 */
export class SocketAttempt extends WireAttempt<PickingWire> implements ResponseHandler, UnsentCall, RequestWriter {
  connection: SubchannelConnection | undefined = undefined;
  protected waitsFor: 'a connection' | 'call credentials' | undefined = 'a connection';
  private response: ResponseStream | undefined = undefined;
  /** Metadata to send, with the fields of the transport; that of the caller if its `fields` are shared. */
  private metadataToSend: Metadata | undefined = undefined;
  /** Fields of `metadataToSend` that many calls share; nobody changes that metadata then. */
  private fields: readonly string[] | undefined = undefined;
  private fieldCount = 0;
  private deadlineTimer: Timer | undefined = undefined;
  private onCallEnded: PickResult['onCallEnded'] = null;
  private unbindParent: (() => void) | undefined = undefined;
  // Of the requests.
  /** For a call that waits, or compresses its requests. */
  private requests: OutgoingRequests | undefined = undefined;
  private isReadPending = false;
  /** True if nobody changes the requests after they are sent. */
  private readonly isOwn = OWN_SERIALIZERS.has(this.request.method.requestSerialize);
  /** Callbacks of messages that wait for the peer or the socket. */
  private written: (() => void)[] | undefined = undefined;
  private burstBytes = 0;
  // Of the response.
  private httpStatus: number | undefined = undefined;
  private encoding = 'identity';
  /** Of a message that is not delivered yet. */
  private inflation: Inflation | undefined = undefined;
  /** Status that arrived while a message was being inflated. */
  private heldStatus: WireStatus | undefined = undefined;
  /** True if the stream has ended, or this side has ended the call. */
  private isOver = false;
  private isReported = false;
  /** What the end of the stream shows. */
  private seen: Partial<WireEvidence> | undefined = undefined;
  private evidence: WireEvidence | undefined = undefined;
  /** What the requests waited for when this side ended the call. */
  private lastObstacle: SendObstacle | undefined = undefined;
  /** Async context of the caller. Without it, callbacks would run in the context in which the connection was opened. */
  private readonly context = new AsyncResource('GRPC_CALL', { requireManualDestroy: true });

  get picked(): boolean {
    return this.connection !== undefined;
  }

  get peer(): string | undefined {
    return this.connection?.peer;
  }

  get authContext(): Attempt['authContext'] {
    return this.connection?.authContext;
  }

  /** What the requests wait for. */
  get obstacle(): SendObstacle | undefined {
    return this.isOver ? this.lastObstacle : this.response?.stream.obstacle;
  }

  get wire(): WireEvidence | undefined {
    // The connection goes on changing after the end.
    return this.hasEnded ? (this.evidence ??= this.observe()) : this.observe();
  }

  private observe(): WireEvidence {
    const { connection, waitsFor, httpStatus, failure, seen } = this;
    if (connection === undefined || waitsFor !== undefined) return NEVER_SENT;
    const { goawayCode, isUsable, hasTimedOut, resetsStreams } = connection;
    return {
      unprocessed: undefined,
      httpStatus,
      resetCode: undefined,
      lacksTrailers: false,
      closedHere: false,
      goawayCode,
      acceptsNoStreams: !isUsable,
      resetsStreams,
      timedOut: failure === 'dropped' && hasTimedOut,
      ...seen,
    };
  }

  protected start(metadata: Metadata): void {
    const { owner, clock } = this;
    const { deadline, options } = this.request;
    owner.calls.started();
    const now = deadline === Infinity ? 0 : clock.epoch();
    // A hedged attempt, or an attempt that waited for its metadata, can start after its deadline. It must not reach the server.
    if (deadline <= now) {
      this.cancel('deadline', StatusCode.DEADLINE_EXCEEDED, EXPIRED);
      return;
    }
    const compression = owner.compression?.isAccepted === true ? owner.compression : undefined;
    this.fields = compression === undefined ? sharedFields.get(metadata) : undefined;
    const headers = this.fields === undefined ? requestMetadata(metadata) : metadata;
    this.metadataToSend = headers;
    if (compression !== undefined) {
      headers.set('grpc-encoding', compression.encoding);
      this.requests = new OutgoingRequests(compression, this.isOwn);
    }
    const leftMs = deadline - now;
    if (leftMs <= MAX_TIMER_MS) this.deadlineTimer = clock.setTimer(() => this.expire(), leftMs, true);
    if (options?.parent) this.bindTo(options.parent, options.propagate_flags ?? propagate.DEFAULTS);
    this.pick(headers, now);
  }

  private bindTo(parent: Pick<NodeJS.EventEmitter, 'on' | 'off'>, flags: number): void {
    if ((flags & propagate.CANCELLATION) === 0) return;
    const cancel = (): void => this.endHere(StatusCode.CANCELLED, 'Cancelled by parent call');
    parent.on('cancelled', cancel);
    this.unbindParent = () => parent.off('cancelled', cancel);
  }

  // ── until the call is on a connection ──

  /** Opens the call on the connection that the load-balancing policy picks, or waits for the next picker. */
  private pick(headers: Metadata, now: number): void {
    const { owner, request } = this;
    const { requestStream, responseStream } = request.method;
    const picked = owner.pick(headers, request.tried, !requestStream && !responseStream);
    // Safe: a number in all releases.
    const type = picked?.pickResultType as number | undefined;
    if (picked === undefined) this.wait();
    else if (type === COMPLETE && isReady(picked.subchannel)) {
      const ofChannel = picked.subchannel.getCallCredentials();
      // `credentials` may be null, as in grpc-js.
      const ofCall = request.options?.credentials;
      const credentials = ofCall ? ofCall.compose(ofChannel) : ofChannel;
      if (credentials.constructor === EmptyCredentials) this.open(picked, picked.subchannel, headers, now);
      else void this.authorize(credentials, picked, picked.subchannel, headers);
    } else if (type === DROP || (type === TRANSIENT_FAILURE && headers.getOptions().waitForReady !== true)) {
      const { code, details } = picked.status ?? NO_CONNECTION;
      const isUnplaced = type !== DROP && code === (StatusCode.UNAVAILABLE as number);
      this.refuse(code, details, isUnplaced ? 'not-placed' : undefined);
    } else this.wait();
  }

  private wait(): void {
    const { owner, clock } = this;
    this.waitsFor = 'a connection';
    // Keeps the process running, as the queue of grpc-js does.
    this.deadlineTimer ??= clock.setTimer(ignore, Infinity, true);
    owner.addUnsent(this);
  }

  pickAgain(): void {
    const { metadataToSend: headers, clock } = this;
    if (headers === undefined || this.waitsFor !== 'a connection') return;
    // The event of a connection has another async context.
    this.context.runInAsyncScope(this.pick, this, headers, clock.epoch());
  }

  /** Adds the metadata of the call credentials, and opens the call. Like grpc-js, picks again if the connection has ended meanwhile. */
  private async authorize(
    credentials: CallCredentials,
    picked: PickResult,
    subchannel: Subchannel,
    headers: Metadata,
  ): Promise<void> {
    const { owner, clock } = this;
    const { path } = this.request.method;
    this.waitsFor = 'call credentials';
    owner.addUnsent(this);
    const authorized = this.fields === undefined ? headers.clone() : requestMetadata(headers);
    try {
      const service_url = serviceUrl(this.authority, path);
      authorized.merge(await credentials.generateMetadata({ method_name: path, service_url }));
    } catch (error) {
      const { code } = (error ?? {}) as { readonly code?: unknown };
      const details = `Getting metadata from plugin failed with error: ${errorMessage(error)}`;
      this.refuse(typeof code === 'number' ? code : StatusCode.UNKNOWN, details, 'credentials');
      return;
    }
    if (this.isOver) return;
    if (isReady(subchannel)) this.open(picked, subchannel, authorized, clock.epoch());
    else this.pick(headers, clock.epoch());
  }

  private get authority(): string {
    return this.request.options?.host ?? this.owner.calls.authority;
  }

  private open(
    { onCallStarted, onCallEnded }: PickResult,
    subchannel: Subchannel,
    headers: Metadata,
    now: number,
  ): void {
    const { owner, authority } = this;
    const { deadline, method } = this.request;
    const shared = headers === this.metadataToSend ? this.fields : undefined;
    if (shared === undefined && headers.get('authorization').length > 1) {
      this.endHere(StatusCode.INTERNAL, '"authorization" metadata cannot have multiple values');
      return;
    }
    try {
      if (shared === undefined && deadline !== Infinity) headers.remove('grpc-timeout');
      const own = shared ?? fieldsOf(headers);
      const timed = deadline === Infinity ? own : withTimeout(own, deadline - now);
      const { fields: further } = this.request;
      const fields = further === undefined ? timed : timed.concat(further);
      // Safe: the policy of this library creates all subchannels of the channel.
      const real = subchannel.getRealSubchannel() as unknown as SocketSubchannel;
      const connection = real.connectionFor(method.path, authority, fields);
      if (connection === undefined) {
        this.wait();
        return;
      }
      const response = new ResponseStream(this, connection.maxMessageBytes);
      response.stream = connection.open(response, method.path, authority, fields);
      this.connection = connection;
      this.response = response;
      this.fieldCount = HEAD_FIELDS + fields.length / 2;
    } catch (error) {
      const code = error instanceof RangeError ? StatusCode.RESOURCE_EXHAUSTED : StatusCode.INTERNAL;
      this.endHere(code, errorMessage(error));
      return;
    }
    this.connection.socket.callStarted();
    this.waitsFor = undefined;
    owner.unsent.delete(this);
    this.onCallEnded = onCallEnded;
    onCallStarted?.();
    if (this.isReadPending) this.startRead();
    this.requests?.open(this);
  }

  refuse(code: number, details: string, failure: LocalFailure | undefined): void {
    if (!REQUEST_CODES.has(code)) this.endHere(code, details, failure);
    else {
      const text = `Invalid status from control plane: ${String(code)} ${statusName(code)} ${details}`;
      this.endHere(StatusCode.INTERNAL, text, failure);
    }
  }

  // ── requests ──

  startRead(): void {
    const { response } = this;
    if (response === undefined) this.isReadPending = true;
    // What has arrived is not passed on inside of the caller's call.
    else if (response.hasHeld) process.nextTick(requestOne, response);
    else response.request();
  }

  protected sendBytes(message: Buffer, written: (() => void) | undefined, flags: number): void {
    if (this.requests === undefined && this.response !== undefined) this.write(message, written, 0, this.isOwn);
    else (this.requests ??= new OutgoingRequests(undefined, this.isOwn)).send(message, written, flags);
  }

  protected endRequests(): void {
    if (this.requests === undefined && this.response !== undefined) this.response.stream.end();
    else (this.requests ??= new OutgoingRequests(undefined, this.isOwn)).end();
  }

  write(message: Uint8Array, written: (() => void) | undefined, compressed: number, isOwn: boolean): void {
    const stream = this.response?.stream;
    if (stream === undefined) return;
    const mayContinue = stream.send(message, compressed, isOwn);
    if (written === undefined) return;
    this.burstBytes += message.length + MESSAGE_BYTES;
    if (stream.isClosed || stream.isLocalEnded) this.clock.defer(written);
    else if (mayContinue && this.burstBytes < MAX_BURST_BYTES) queueMicrotask(written);
    else {
      (this.written ??= []).push(written);
      stream.awaitDrain();
    }
  }

  writeEnd(): void {
    this.response?.stream.end();
  }

  drained(): void {
    this.burstBytes = 0;
    const { written } = this;
    this.written = undefined;
    if (written !== undefined) for (const callback of written) this.pass(callback, undefined);
  }

  // ── the end on this side ──

  protected endHere(code: number, details: string, failure?: LocalFailure): void {
    // A message that is being inflated is no longer delivered, and neither is the status after it.
    this.inflation?.drop();
    this.inflation = undefined;
    if (!this.isOver) this.leave();
    else if (this.heldStatus === undefined) return;
    this.heldStatus = undefined;
    const status = { code, details, metadata: new Metadata(), failure };
    this.clock.defer(() => this.pass(this.report, status));
  }

  /** Ends the stream, or gives up the wait for one. */
  private leave(): void {
    const { response, connection } = this;
    if (response === undefined || connection === undefined) {
      this.isOver = true;
      this.owner.unsent.delete(this);
      return;
    }
    const { stream } = response;
    const { obstacle } = stream;
    this.lastObstacle = obstacle;
    if (obstacle === 'connection-window') connection.retireIfStalled();
    this.seen = { closedHere: true, unprocessed: stream.id === 0 ? 'never-sent' : undefined };
    response.cancel();
    this.streamEnded(connection);
  }

  private expire(): void {
    // A call without a connection must end at once: it would otherwise be sent if it got one in this turn.
    const mayBeAnswered = this.connection !== undefined && this.clock.epoch() - this.request.deadline > MAX_LATE_MS;
    // What arrived while this process was blocked may be an answer, and is read before the next turn.
    if (mayBeAnswered) this.clock.defer(() => this.endAtDeadline());
    else this.endAtDeadline();
  }

  private endAtDeadline(): void {
    const tookMs = this.clock.now() - this.startedAt;
    const where =
      this.connection === undefined ? `, waiting for ${String(this.waitsFor)}` : `,remote_addr=${this.connection.peer}`;
    const details = `Deadline exceeded after ${(tookMs / 1_000).toFixed(3)}s${where}`;
    this.cancel('deadline', StatusCode.DEADLINE_EXCEEDED, details);
  }

  // ── the response ──

  headers(block: HeaderBlock): void {
    this.httpStatus = Number(block.status);
    const headers = new ReceivedHeaders(block);
    this.encoding = headers.encoding ?? 'identity';
    this.owner.compression?.answered(headers.acceptedEncodings);
    this.pass(this.receiveHeaders, headers);
  }

  message(message: Buffer, isCompressed: boolean): void {
    this.pass(isCompressed ? this.inflate : this.receiveMessage, message);
  }

  trailers(block: HeaderBlock, isOnly: boolean): void {
    if (isOnly) this.httpStatus = Number(block.status);
    this.responseEnded(statusOf(block, this.httpStatus ?? 0));
  }

  failed(failure: ResponseFailure): void {
    const { connection, response } = this;
    if (connection === undefined || response === undefined) return;
    if (failure.cause === 'reset') connection.streamReset(response.stream.id);
    this.responseEnded(statusOfFailure(failure, this.fieldCount, connection));
  }

  private responseEnded(status: WireStatus): void {
    const { connection } = this;
    if (this.isOver || connection === undefined) return;
    this.seen = status.evidence;
    this.streamEnded(connection);
    if (this.inflation !== undefined) this.heldStatus = status;
    else this.pass(this.report, status);
  }

  private streamEnded(connection: SubchannelConnection): void {
    this.isOver = true;
    if (this.written !== undefined) this.drained();
    connection.socket.callEnded();
  }

  private inflate(message: Buffer): void {
    const { encoding } = this;
    if (!isInflatable(encoding)) {
      const details =
        encoding === 'identity'
          ? 'Received compressed message but "grpc-encoding" header was identity'
          : `Compression method not supported: ${encoding}`;
      this.cancel('protocol', StatusCode.INTERNAL, details);
      return;
    }
    const { maxReceiveBytes } = this.owner;
    this.inflation = inflate(encoding, message, maxReceiveBytes);
    void this.inflation.result.then((result) => {
      if (this.inflation === undefined) return;
      if (result === 'too-large') {
        const details = `Received message that decompresses to a size larger than ${String(maxReceiveBytes)}`;
        this.cancel('protocol', StatusCode.RESOURCE_EXHAUSTED, details);
        return;
      }
      if (result === 'unreadable') {
        this.cancel('protocol', StatusCode.INTERNAL, `Failed to decompress ${encoding}-encoded message`);
        return;
      }
      this.inflation = undefined;
      this.receiveMessage(result);
      if (this.heldStatus !== undefined) this.report(this.heldStatus);
    });
  }

  // ── to the caller ──

  private report(status: WireStatus): void {
    if (this.isReported) return;
    this.isReported = true;
    this.heldStatus = undefined;
    this.deadlineTimer?.clear();
    this.unbindParent?.();
    this.owner.calls.ended(status);
    try {
      // May throw, because weighted_round_robin decodes a load report from the server. The listener receives the status anyway.
      if (this.onCallEnded) this.onCallEnded(status.code, status.details, status.metadata);
    } finally {
      this.context.emitDestroy();
      this.receiveStatus(status);
    }
  }

  /** Passes `value` to the caller, in its async context. What the caller throws must not end the connection, which carries other calls. */
  private pass<V>(receive: (this: this, value: V) => void, value: V): void {
    try {
      this.context.runInAsyncScope(receive, this, value);
    } catch (error) {
      process.nextTick(rethrow, error);
    }
  }
}

function requestOne(response: ResponseStream): void {
  response.request();
}

function rethrow(error: unknown): void {
  throw error;
}

function isReady(subchannel: Subchannel | null): subchannel is Subchannel {
  return (subchannel?.getConnectivityState() as number | undefined) === READY;
}

/** Returns the URL that call credentials receive, as in grpc-js. */
function serviceUrl(authority: string, path: string): string {
  const [, bracketed, plain] = /^\[(.+)\](?::\d+)?$|^([^:]*)(?::\d+)?$/.exec(authority) ?? [];
  const [, service = ''] = path.split('/');
  return `https://${bracketed ?? plain ?? authority}/${service}`;
}
