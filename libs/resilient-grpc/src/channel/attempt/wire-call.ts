import { AsyncResource } from 'node:async_hooks';
import {
  CallCredentials,
  Metadata,
  propagate,
  type CallOptions,
  type StatusObject,
  type experimental,
} from '@grpc/grpc-js';
import type { Attempt } from '../../call/attempt.js';
import { errorMessage } from '../../errors/error-message.js';
import { REQUEST_CODES, StatusCode, statusName } from '../../status/status-code.js';
import { type Clock, type Timer, MAX_TIMER_MS } from '../../time/clock.js';
import { inflate, isInflatable } from '../../transport/grpc/inflate.js';
import { authorityOf, callEnded, callStarted } from '../quirks/channel-internals.js';
import { COMPLETE, DROP, TRANSIENT_FAILURE } from '../quirks/experimental.js';
import { fieldsOf, type ReceivedHeaders } from '../subchannel/header-fields.js';
import type { SocketSubchannel } from '../subchannel/socket-subchannel.js';
import type { ConnectionCallListener, SocketCall } from '../subchannel/socket-call.js';
import type { UnsentCall, WireChannel } from '../wire-channel.js';
import { requestMetadata, sharedFields } from './call-metadata.js';
import { OutgoingRequests } from './outgoing-requests.js';
import { EXPIRED, type TransportCall, type TransportCallListener } from './transport-call.js';

type PickResult = experimental.PickResult;
type Subchannel = experimental.SubchannelInterface;
type CallChannel = Pick<WireChannel, 'channel' | 'pick' | 'unsent' | 'addUnsent' | 'compression' | 'maxReceiveBytes'>;

/** `ConnectivityState.READY` of grpc-js. */
const READY = 2;
/** Class of the empty call credentials of grpc-js, which does not export the class. */
const EmptyCredentials = CallCredentials.createEmpty().constructor;
const NO_STATUS = { code: StatusCode.UNAVAILABLE, details: 'No connection established', metadata: undefined };
/** Delay in milliseconds of a deadline above which this process is assumed not to have run. */
export const MAX_LATE_MS = 50;
const ignore = (): void => undefined;

/**
 * A call on the transport of this library. It waits until the load-balancing policy picks a READY connection and the call credentials
 * respond, and then runs on that connection. Like grpc-js's channel, it compresses requests, inflates responses, and enforces the deadline.
 */
export class WireCall implements TransportCall, ConnectionCallListener, UnsentCall {
  waitsFor: TransportCall['waitsFor'] = 'an interceptor';
  placement: SocketCall | undefined = undefined;
  private headers: Metadata | undefined = undefined;
  /** Fields of `headers` that many calls share; nobody changes these `headers`. */
  private fields: readonly string[] | undefined = undefined;
  private startedAt = 0;
  private deadlineTimer: Timer | undefined = undefined;
  private onCallEnded: PickResult['onCallEnded'] = null;
  private encoding = 'identity';
  private isInflating = false;
  /** Status that arrived while a message was being inflated. */
  private heldStatus: StatusObject | undefined = undefined;
  /** Status with which this side ends the call, while it is not on a connection. */
  private ownStatus: StatusObject | undefined = undefined;
  private isOver = false;
  // For a call that waits, or compresses its requests.
  private requests: OutgoingRequests | undefined = undefined;
  private isReadPending = false;
  private context: AsyncResource | undefined = undefined;
  private unbindParent: (() => void) | undefined = undefined;

  constructor(
    private readonly channel: CallChannel,
    private readonly path: string,
    private readonly deadline: number,
    private readonly options: CallOptions | undefined,
    private readonly listener: TransportCallListener,
    private readonly clock: Clock,
    /** Endpoints to avoid; the picked one is added. */
    private readonly tried?: string[],
    /** True if nobody changes the requests afterward. */
    private readonly isOwn = false,
  ) {}

  get isPlaced(): boolean {
    return this.placement !== undefined;
  }

  get peer(): string | undefined {
    return this.placement?.peer;
  }

  get authContext(): Attempt['authContext'] {
    return this.placement?.authContext;
  }

  start(metadata: Metadata): void {
    const { channel, clock, deadline, options } = this;
    this.headers = metadata;
    callStarted(channel.channel);
    if (this.ownStatus !== undefined) {
      // It was cancelled before it was started.
      this.endLater(this.ownStatus);
      return;
    }
    this.waitsFor = 'a connection';
    const now = deadline === Infinity ? 0 : clock.epoch();
    this.startedAt = now;
    // A hedged attempt, or an attempt that waited for its metadata, can start after its deadline. It must not reach the server.
    if (deadline <= now) {
      this.endHere(EXPIRED.code, EXPIRED.details);
      return;
    }
    const compression = channel.compression?.isAccepted === true ? channel.compression : undefined;
    this.fields = compression === undefined ? sharedFields.get(metadata) : undefined;
    if (this.fields === undefined) this.headers = requestMetadata(metadata);
    if (compression !== undefined) {
      this.headers.set('grpc-encoding', compression.encoding);
      this.requests = new OutgoingRequests(compression, this.isOwn);
    }
    const leftMs = deadline - now;
    if (leftMs <= MAX_TIMER_MS) this.deadlineTimer = clock.setTimer(() => this.expire(), leftMs, true);
    if (options?.parent) this.bindTo(options.parent, options.propagate_flags ?? propagate.DEFAULTS);
    this.pick(this.headers, now);
  }

  private bindTo(parent: Pick<NodeJS.EventEmitter, 'on' | 'off'>, flags: number): void {
    if ((flags & propagate.CANCELLATION) === 0) return;
    const cancel = (): void => this.cancelWithStatus(StatusCode.CANCELLED, 'Cancelled by parent call');
    parent.on('cancelled', cancel);
    this.unbindParent = () => parent.off('cancelled', cancel);
  }

  // ── until the call is on a connection ──

  /** Opens the call on the connection that the load-balancing policy picks, or waits for the next picker. */
  private pick(headers: Metadata, now: number): void {
    const { channel, options } = this;
    const picked = channel.pick(headers, this.tried);
    // Safe: a number in all releases.
    const type = picked?.pickResultType as number | undefined;
    if (picked === undefined) this.wait();
    else if (type === COMPLETE && isReady(picked.subchannel)) {
      const ofChannel = picked.subchannel.getCallCredentials();
      // `credentials` may be null, as in grpc-js.
      const credentials = options?.credentials ? options.credentials.compose(ofChannel) : ofChannel;
      if (credentials.constructor === EmptyCredentials) this.open(picked, picked.subchannel, headers, now);
      else void this.authorize(credentials, picked, picked.subchannel, headers);
    } else if (type === DROP || (type === TRANSIENT_FAILURE && headers.getOptions().waitForReady !== true)) {
      const { code, details, metadata } = picked.status ?? NO_STATUS;
      this.endByControlPlane(code, details, metadata);
    } else this.wait();
  }

  private wait(): void {
    const { channel, clock } = this;
    this.waitsFor = 'a connection';
    // Keeps the process running, as the queue of grpc-js does.
    this.deadlineTimer ??= clock.setTimer(ignore, Infinity, true);
    // The call will be opened by an event of a connection, but belongs to the async context of its caller.
    this.context ??= new AsyncResource('GRPC_CALL');
    channel.addUnsent(this);
  }

  pickAgain(): void {
    const { headers, context, clock } = this;
    if (headers === undefined || this.waitsFor !== 'a connection') return;
    context?.runInAsyncScope(() => this.pick(headers, clock.epoch()));
  }

  /** Adds the metadata of the call credentials, and opens the call. Like grpc-js, picks again if the connection has ended meanwhile. */
  private async authorize(
    credentials: CallCredentials,
    picked: PickResult,
    subchannel: Subchannel,
    headers: Metadata,
  ): Promise<void> {
    const { channel, path, clock } = this;
    this.waitsFor = 'call credentials';
    channel.addUnsent(this);
    const authorized = this.fields === undefined ? headers.clone() : requestMetadata(headers);
    try {
      const service_url = serviceUrl(this.authority, path);
      authorized.merge(await credentials.generateMetadata({ method_name: path, service_url }));
    } catch (error) {
      const { code } = (error ?? {}) as { readonly code?: unknown };
      const details = `Getting metadata from plugin failed with error: ${errorMessage(error)}`;
      this.endByControlPlane(typeof code === 'number' ? code : StatusCode.UNKNOWN, details);
      return;
    }
    if (this.ownStatus !== undefined) return;
    if (isReady(subchannel)) this.open(picked, subchannel, authorized, clock.epoch());
    else this.pick(headers, clock.epoch());
  }

  private get authority(): string {
    return this.options?.host ?? authorityOf(this.channel.channel);
  }

  private open(
    { onCallStarted, onCallEnded }: PickResult,
    subchannel: Subchannel,
    headers: Metadata,
    now: number,
  ): void {
    const { channel, deadline } = this;
    if (this.listener.isOver) {
      this.endHere(StatusCode.CANCELLED, 'Cancelled before it was sent');
      return;
    }
    const fields = headers === this.headers ? this.fields : undefined;
    if (fields === undefined && headers.get('authorization').length > 1) {
      this.endHere(StatusCode.INTERNAL, '"authorization" metadata cannot have multiple values');
      return;
    }
    let call: SocketCall | undefined;
    try {
      // Safe: the policy of this library creates all subchannels of the channel.
      const real = subchannel.getRealSubchannel() as unknown as SocketSubchannel;
      if (fields === undefined && deadline !== Infinity) headers.remove('grpc-timeout');
      const own = fields ?? fieldsOf(headers);
      const all = deadline === Infinity ? own : [...own, 'grpc-timeout', timeoutValue(deadline - now)];
      call = real.createCall(all, this.authority, this.path, this);
    } catch (error) {
      const code = error instanceof RangeError ? StatusCode.RESOURCE_EXHAUSTED : StatusCode.INTERNAL;
      this.endHere(code, errorMessage(error));
      return;
    }
    if (call === undefined) {
      this.wait();
      return;
    }
    this.placement = call;
    this.waitsFor = undefined;
    channel.unsent.delete(this);
    this.onCallEnded = onCallEnded;
    onCallStarted?.();
    if (this.isReadPending) call.startRead();
    this.requests?.open(call);
  }

  private endByControlPlane(code: number, details: string, metadata?: Metadata): void {
    if (!REQUEST_CODES.has(code)) this.endHere(code, details, metadata);
    else {
      const text = `Invalid status from control plane: ${String(code)} ${statusName(code)} ${details}`;
      this.endHere(StatusCode.INTERNAL, text, metadata);
    }
  }

  // ── requests and the end ──

  startRead(): void {
    if (this.placement === undefined) this.isReadPending = true;
    else this.placement.startRead();
  }

  send(message: Buffer, written: (() => void) | undefined, flags = 0): void {
    if (this.requests === undefined && this.placement !== undefined)
      this.placement.send(message, written, 0, this.isOwn);
    else (this.requests ??= new OutgoingRequests(undefined, this.isOwn)).send(message, written, flags);
  }

  halfClose(): void {
    if (this.requests === undefined && this.placement !== undefined) this.placement.halfClose();
    else (this.requests ??= new OutgoingRequests(undefined, this.isOwn)).end();
  }

  cancelWithStatus(code: number, details: string): void {
    // A message that is being inflated is no longer delivered.
    this.isInflating = false;
    // The call on the connection has already reported its own status.
    if (this.placement === undefined || this.heldStatus !== undefined) this.endHere(code, details);
    else this.placement.cancelWithStatus(code, details);
  }

  /** Ends the call on this side, if it is not running on a connection. The caller is told later. */
  private endHere(code: number, details: string, metadata = new Metadata()): void {
    if (this.isOver || this.ownStatus !== undefined) return;
    this.ownStatus = { code, details, metadata };
    this.heldStatus = undefined;
    this.channel.unsent.delete(this);
    if (this.headers !== undefined) this.endLater(this.ownStatus);
  }

  private endLater(status: StatusObject): void {
    this.clock.defer(() => this.end(status));
  }

  private end(status: StatusObject): void {
    if (this.isOver) return;
    this.isOver = true;
    this.heldStatus = undefined;
    this.deadlineTimer?.clear();
    this.unbindParent?.();
    callEnded(this.channel.channel, status);
    try {
      // May throw, because weighted_round_robin decodes a load report from the server. The listener receives the status anyway.
      if (this.onCallEnded) this.onCallEnded(status.code, status.details, status.metadata);
    } finally {
      this.listener.onReceiveStatus(status);
    }
  }

  private expire(): void {
    // A call without a connection must end at once: it would otherwise be sent if it got one in this turn.
    const mayBeAnswered = this.placement !== undefined && this.clock.epoch() - this.deadline > MAX_LATE_MS;
    // What arrived while this process was blocked may be an answer, and is read before the next turn.
    if (mayBeAnswered) this.clock.defer(() => this.endAtDeadline());
    else this.endAtDeadline();
  }

  private endAtDeadline(): void {
    const tookMs = this.clock.epoch() - this.startedAt;
    const where =
      this.placement === undefined ? `, waiting for ${String(this.waitsFor)}` : `,remote_addr=${this.placement.peer}`;
    const details = `Deadline exceeded after ${(tookMs / 1_000).toFixed(3)}s${where}`;
    this.listener.cancel('deadline', StatusCode.DEADLINE_EXCEEDED, details);
  }

  // ── the response ──

  onReceiveHeaders(headers: ReceivedHeaders): void {
    this.encoding = headers.encoding ?? 'identity';
    this.channel.compression?.answered(headers.acceptedEncodings);
    this.listener.onReceiveHeaders(headers);
  }

  onReceiveMessage(message: Buffer, isCompressed: boolean): void {
    if (isCompressed) this.inflate(message);
    else this.listener.onReceiveMessage(message);
  }

  onReceiveStatus(status: StatusObject): void {
    if (this.isInflating) this.heldStatus = status;
    else this.end(status);
  }

  private inflate(message: Buffer): void {
    const { encoding } = this;
    if (!isInflatable(encoding)) {
      const details =
        encoding === 'identity'
          ? 'Received compressed message but "grpc-encoding" header was identity'
          : `Compression method not supported: ${encoding}`;
      this.listener.cancel('protocol', StatusCode.INTERNAL, details);
      return;
    }
    this.isInflating = true;
    const { maxReceiveBytes } = this.channel;
    void inflate(encoding, message, maxReceiveBytes).then((result) => {
      if (!this.isInflating || this.isOver) return;
      if (result === 'too-large') {
        const details = `Received message that decompresses to a size larger than ${String(maxReceiveBytes)}`;
        this.listener.cancel('protocol', StatusCode.RESOURCE_EXHAUSTED, details);
        return;
      }
      if (result === 'unreadable') {
        this.listener.cancel('protocol', StatusCode.INTERNAL, `Failed to decompress ${encoding}-encoded message`);
        return;
      }
      this.isInflating = false;
      this.listener.onReceiveMessage(result);
      if (this.heldStatus !== undefined) this.end(this.heldStatus);
    });
  }
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

const TIMEOUT_UNITS = [
  ['m', 1],
  ['S', 1_000],
  ['M', 60_000],
  ['H', 3_600_000],
] as const;

/** Formats `ms` as a value of `grpc-timeout`: at most eight digits, rounded up (gRPC over HTTP/2, "Requests"). */
export function timeoutValue(ms: number): string {
  for (const [unit, factor] of TIMEOUT_UNITS) {
    const amount = Math.ceil(Math.max(ms, 0) / factor);
    if (amount < 1e8) return `${String(amount)}${unit}`;
  }
  // 11,000 years: the longest timeout that the header can express.
  return '99999999H';
}
