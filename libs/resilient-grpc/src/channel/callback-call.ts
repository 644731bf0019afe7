import { constants } from 'node:http2';
import { Metadata, propagate, type CallCredentials, type Channel } from '@grpc/grpc-js';
import { NOT_STARTED } from '../policy/evidence/grpc-js-texts.js';
import { MESSAGE_OVERHEAD_BYTES, type ReplayLimits } from '../policy/replay/replay-limits.js';
import { MAX_UNSENT } from '../policy/retry/decide-retry.js';
import { StatusCode } from '../status/status-code.js';
import type { AttemptEvidence } from '../policy/evidence/attempt-evidence.js';
import type { Clock } from '../time/clock.js';
import { CallbackAttempt } from './attempt/callback-attempt.js';
import { EARLY_MS, EXPIRED, pickedPeer, startUnlessExpired } from './attempt/grpc-js-call.js';
import { withTried } from './connection/endpoint-picker.js';
import { readWire } from './quirks/wire-evidence.js';
import type { WireChannel } from './wire-channel.js';

type Call = ReturnType<Channel['createCall']>;
type Listener = Parameters<Call['start']>[1];
type Status = Parameters<Listener['onReceiveStatus']>[0];
type MessageContext = Parameters<Call['sendMessageWithContext']>[0];

/** Limits for resending the calls of a client. */
export interface ResendBounds {
  readonly replayLimits: ReplayLimits;
  /** True if REFUSED_STREAM without a GOAWAY means that the server did not process the stream. */
  readonly trustRefusedStreams: boolean;
}

/** Options of one call. */
export interface CallbackCallOptions extends ResendBounds {
  readonly isUnary: boolean;
}

/** Members of the managed channel that callback calls use. */
export interface CallbackChannel {
  /** Carries new calls. */
  readonly current: WireChannel;
  /** Reports that the server responded to a call to `path` on the current channel. */
  answered(latencyMs: undefined, path: string): void;
}

type End = Pick<Status, 'code' | 'details'>;

/** grpc-js's status for calls that are waiting when their channel closes. */
const CHANNEL_CLOSED: End = { code: StatusCode.UNAVAILABLE, details: 'Channel closed before call started' };
/** grpc-js's status for calls whose parent call is cancelled. */
const BY_PARENT: End = { code: StatusCode.CANCELLED, details: 'Cancelled by parent call' };

interface Message {
  /** Context from the caller, with the caller's callback; `undefined` after grpc-js has accepted the message once. */
  context: MessageContext | undefined;
  readonly flags: number | undefined;
  readonly bytes: Buffer;
}

/**
 * A call of grpc-js's own client. grpc-js's retries are off on the library's channels, so this class starts the call again if no server
 * application received it. The call is restarted up to ten times if its request was never sent. If a GOAWAY, or a trusted REFUSED_STREAM,
 * rejected the stream of the call, the call is resent once, as in a plain channel.
 *
 * An interceptor may delay the start of the call, for example until it has fetched a token. The call starts on the channel
 * that is current at that time, because a channel that was replaced may have closed.
 */
export class CallbackCall implements Call, Listener {
  private wire: WireChannel;
  private call: Call;
  private metadata!: Metadata;
  private listener!: Listener;
  private credentials: CallCredentials | undefined;
  /** Messages that may have to be sent or resent. */
  private readonly messages: Message[] = [];
  /** The current attempt; `undefined` before the call starts. */
  private attempt: CallbackAttempt | undefined;
  /** Endpoints that the call has tried. */
  private readonly tried: string[] = [];
  /** Index of the next message to send. */
  private next = 0;
  private keptBytes = 0;
  /** True if all messages sent so far are kept, and no response has begun. */
  private isReplayable = true;
  private isSending = false;
  private isHalfClosed = false;
  private isReading = false;
  private isStarted = false;
  /** Status of the first cancellation; `undefined` if the call was not cancelled. */
  private cancelled: End | undefined;
  private isResent = false;
  private unsent = 0;

  constructor(
    private readonly managed: CallbackChannel,
    private readonly args: Parameters<Channel['createCall']>,
    private readonly options: CallbackCallOptions,
    private readonly clock: Clock,
  ) {
    this.wire = managed.current;
    this.call = this.wire.channel.createCall(...args);
  }

  start(metadata: Metadata, listener: Listener): void {
    this.metadata = metadata;
    this.listener = listener;
    this.isStarted = true;
    const end = this.endBeforeStart();
    const isMoved = this.wire !== this.managed.current;
    // Ends grpc-js's call, because a call that is never started keeps its deadline timer until it ends.
    if (end !== undefined || isMoved) this.call.cancelWithStatus(StatusCode.CANCELLED, '');
    if (end === undefined) {
      if (isMoved) this.recreate();
      this.begin();
      return;
    }
    this.forget();
    // Reports the status here, because grpc-js reports none for a call that ended before its start.
    process.nextTick(() => {
      listener.onReceiveStatus({ ...end, metadata: new Metadata() });
    });
  }

  sendMessageWithContext(context: MessageContext, bytes: Buffer): void {
    this.messages.push({ context, flags: context.flags, bytes });
    const size = bytes.length + MESSAGE_OVERHEAD_BYTES;
    if (this.isReplayable && this.options.replayLimits.take(size, this.keptBytes)) this.keptBytes += size;
    else this.forget();
    this.sendNext();
  }

  halfClose(): void {
    this.isHalfClosed = true;
    this.sendNext();
  }

  startRead(): void {
    this.isReading = true;
    if (this.isStarted) this.call.startRead();
  }

  cancelWithStatus(code: StatusCode, details: string): void {
    this.cancelled ??= { code, details };
    this.call.cancelWithStatus(code, details);
  }

  setCredentials(credentials: CallCredentials): void {
    this.credentials = credentials;
    this.call.setCredentials(credentials);
  }

  getPeer(): string {
    return this.call.getPeer();
  }

  getCallNumber(): number {
    return this.call.getCallNumber();
  }

  getAuthContext(): ReturnType<Call['getAuthContext']> {
    return this.call.getAuthContext();
  }

  onReceiveMetadata(headers: Metadata): void {
    this.forget();
    this.attempt?.answered(headers);
    this.listener.onReceiveMetadata(headers);
  }

  onReceiveMessage(message: unknown): void {
    this.listener.onReceiveMessage(message);
  }

  onReceiveStatus(status: Status): void {
    this.attempt?.ended(status, this.endedHere(status.code));
    if (status.code !== StatusCode.OK && this.mayResend(status)) {
      const { wire, call } = this;
      this.resend();
      // Called last, because a retired channel closes when its last call has ended.
      wire.attemptEnded(call);
      return;
    }
    this.forget();
    this.wire.attemptEnded(this.call);
    this.listener.onReceiveStatus(status);
  }

  private begin(): void {
    this.wire.attemptStarted();
    this.attempt = new CallbackAttempt(this.call, this.wire, this.options.isUnary, this.clock, this.onAnswered);
    this.wire.callCreated(this.call);
    const metadata = this.tried.length === 0 ? this.metadata : withTried(this.metadata, this.tried);
    startUnlessExpired(this.call, undefined, this.clock, metadata, this);
    this.sendNext();
    if (this.isReading) this.call.startRead();
  }

  /** Reports a response, unless a closing connection of a replaced channel received it. */
  private readonly onAnswered = (): void => {
    if (this.wire === this.managed.current) this.managed.answered(undefined, this.args[0]);
  };

  /** Returns the status of a call that must not be started; `undefined` if it may start. */
  private endBeforeStart(): End | undefined {
    const [, deadline, , parent, flags] = this.args;
    if (this.cancelled !== undefined) return this.cancelled;
    if (parent?.cancelled === true && ((flags ?? propagate.DEFAULTS) & propagate.CANCELLATION) !== 0) return BY_PARENT;
    if (this.clock.epoch() >= Number(deadline) - EARLY_MS) return EXPIRED;
    return this.managed.current.state === 'SHUTDOWN' ? CHANNEL_CLOSED : undefined;
  }

  /** Replaces grpc-js's call, which has ended, with a call on the current channel. */
  private recreate(): void {
    this.wire = this.managed.current;
    this.call = this.wire.channel.createCall(...this.args);
    if (this.credentials !== undefined) this.call.setCredentials(this.credentials);
  }

  private endedHere(code: StatusCode): AttemptEvidence['endedHere'] {
    const [, deadline, , parent] = this.args;
    if (this.cancelled !== undefined || (code === StatusCode.CANCELLED && parent?.cancelled === true)) return 'cancel';
    const isOver = code === StatusCode.DEADLINE_EXCEEDED && this.clock.epoch() >= Number(deadline) - EARLY_MS;
    return isOver ? 'deadline' : 'no';
  }

  private mayResend({ code, details }: Status): boolean {
    if (!this.isReplayable || this.cancelled !== undefined || code === StatusCode.DEADLINE_EXCEEDED) return false;
    const [, , , parent] = this.args;
    if (parent?.cancelled === true || this.managed.current.state === 'SHUTDOWN') return false;
    const evidence = readWire(this.call)?.evidence;
    if (evidence?.unprocessed === 'never-sent' || this.hasNotStarted(details)) {
      this.unsent += 1;
      return this.unsent <= MAX_UNSENT;
    }
    const isRejected = evidence?.unprocessed === 'rejected';
    const isRefused = this.options.trustRefusedStreams && evidence?.resetCode === constants.NGHTTP2_REFUSED_STREAM;
    if (this.isResent || !(isRejected || isRefused)) return false;
    this.isResent = true;
    return true;
  }

  private hasNotStarted(details: string): boolean {
    // Without a connection, grpc-js itself created the status.
    return pickedPeer(this.call, this.wire.channel) === undefined && NOT_STARTED.test(details);
  }

  private resend(): void {
    const peer = pickedPeer(this.call, this.wire.channel);
    if (peer !== undefined) this.tried.push(peer);
    this.recreate();
    this.next = 0;
    this.isSending = false;
    this.begin();
  }

  /** Sends the next message if none is being sent. grpc-js loses a message that is sent before it has accepted the previous one. */
  private sendNext(): void {
    if (!this.isStarted) return;
    if (this.isSending) {
      this.endRequests();
      return;
    }
    const message = this.messages[this.next];
    if (message !== undefined) {
      this.isSending = true;
      if (this.isReplayable) this.next += 1;
      else this.messages.shift();
      const { call } = this;
      const callback = (error?: Error | null): void => {
        if (call === this.call) this.accepted(message, error);
      };
      const { flags, bytes } = message;
      call.sendMessageWithContext(flags === undefined ? { callback } : { callback, flags }, bytes);
    }
    this.endRequests();
  }

  private accepted(message: Message, error: Error | null | undefined): void {
    this.isSending = false;
    const { context } = message;
    message.context = undefined;
    context?.callback?.(error);
    if (this.next < this.messages.length) this.sendNext();
  }

  private endRequests(): void {
    if (this.isHalfClosed && this.next === this.messages.length) this.call.halfClose();
  }

  /** Drops the sent messages. The call cannot be resent afterward. */
  private forget(): void {
    if (!this.isReplayable) return;
    this.isReplayable = false;
    this.options.replayLimits.release(this.keptBytes);
    this.messages.splice(0, this.next);
    this.next = 0;
  }
}
