import { Metadata, type Channel, type experimental, type Interceptor } from '@grpc/grpc-js';
import type { Attempt, AttemptEnd, AttemptListener, AttemptRequest } from '../../call/attempt.js';
import type { AttemptTelemetry } from '../../call/call-telemetry.js';
import type { WireEvidence } from '../../policy/evidence/attempt-evidence.js';
import { classify } from '../../policy/evidence/classify.js';
import { SHUTDOWN_STATUSES } from '../../policy/evidence/grpc-js-texts.js';
import { StatusCode } from '../../status/status-code.js';
import type { Clock } from '../../time/clock.js';
import { DelayedStatus, GOAWAY_LAG_MS } from './delayed-status.js';
import { createCall, interceptedCall } from './intercepting-call.js';
import { pickedPeer } from './picked-peer.js';
import { readWire, type WireFacts } from '../quirks/wire-evidence.js';
import { tellCompressed } from '../quirks/wire-sizes.js';

type CallStream = experimental.CallStream;
/** What a call under interceptors and a bare one have in common. */
type AnyCall = Pick<CallStream, 'startRead' | 'halfClose' | 'cancelWithStatus' | 'getPeer'> & {
  start(metadata: Metadata, listener: WireAttempt): void;
  sendMessageWithContext(context: { callback?: () => void }, message: unknown): void;
};
type StatusObject = Parameters<Parameters<CallStream['start']>[1]['onReceiveStatus']>[0];

/** The channel that carries attempts, as they see it. */
export interface WireOwner {
  readonly channel: Channel;
  readonly ready: boolean;
  /** The server took its leave of a connection at once, and whether it goes on with the calls there is to be seen. */
  readonly inDoubt: boolean;
  /** It did: a call to `peer` that began at `startedAt` has an answer. */
  answeredTo(peer: string | undefined, startedAt: number): void;
  /** grpc-js made the call of an attempt. */
  callCreated(call: object): void;
  attemptEnded(): void;
  /** Reports which private names the first `subject` of its kind lacks. */
  checkSeams(on: string, subject: unknown): void;
  /** An attempt on the connection to `peer` was ended on this side because it took too long. */
  timedOut(peer: string | undefined, startedAt: number, waitedMs: number): void;
}

const TOOK_TOO_LONG: ReadonlySet<AttemptEnd['endedHere']> = new Set(['deadline', 'attempt-timeout', 'stream-idle']);
const NO_CONTEXT = {};
const NOBODY: AttemptListener = {
  onHeaders() {
    /* nobody listens any more */
  },
  onMessage() {
    /* nobody listens any more */
  },
  onEnd() {
    /* nobody listens any more */
  },
};

/**
 * One RPC on `Channel.createCall`, for all four kinds of method. It is its own listener and its own record of the end, so that
 * an attempt costs one object beside grpc-js's.
 */
export class WireAttempt implements Attempt, AttemptEnd {
  code: number = StatusCode.OK;
  details = '';
  metadata!: Metadata;
  endedHere: AttemptEnd['endedHere'] = 'no';
  headersReceived = false;
  messagesReceived = 0;
  channelReady = true;

  private readonly call: AnyCall;
  private readonly intercepted: boolean;
  /** Under interceptors the call of the channel appears when they let it through, perhaps never. */
  private channelCall: Pick<CallStream, 'getPeer'> | undefined;
  private headers: Metadata | undefined;
  private ended = false;
  /** Under interceptors: a response came that could not be read. */
  private unreadable = false;
  /** Read once, after the end. */
  private facts: WireFacts | undefined;
  private delayedStatus: DelayedStatus | undefined;
  private readonly telemetry: AttemptTelemetry | undefined;

  constructor(
    private readonly owner: WireOwner,
    private readonly request: AttemptRequest,
    private listener: AttemptListener,
    private readonly clock: Clock,
    /** Monotonic. */
    private readonly startedAt: number,
  ) {
    const { method, deadline, options, interceptors, telemetry } = request;
    this.intercepted = interceptors !== undefined;
    this.telemetry = telemetry?.attempt(request.metadata);
    const metadata = this.telemetry?.metadata ?? request.metadata;
    try {
      if (interceptors === undefined) {
        const call = createCall(owner.channel, method.path, deadline, options);
        this.call = call;
        this.took(call);
      } else {
        this.call = this.intercept(interceptors);
      }
      // Interceptors may write into what they are given, and metadata are shared by attempts, calls, even clients.
      this.call.start(this.intercepted ? metadata.clone() : metadata, this);
    } catch (error) {
      this.telemetry?.end(StatusCode.INTERNAL, error instanceof Error ? error.message : String(error));
      throw error;
    }
  }

  private intercept(interceptors: readonly Interceptor[]): AnyCall {
    const { method, deadline, options } = this.request;
    return interceptedCall(this.owner.channel, method, deadline, options, interceptors, {
      onCreated: (call) => {
        this.took(call);
      },
      onSend: (bytes) => {
        this.telemetry?.sent(bytes.length);
      },
      onReceive: (bytes) => {
        this.telemetry?.received(bytes.length);
      },
      onUnreadable: () => {
        this.unreadable = true;
      },
    });
  }

  /** This is the call of the channel. */
  private took(call: CallStream): void {
    this.channelCall = call;
    this.owner.callCreated(call);
    if (this.telemetry === undefined) return;
    if (!tellCompressed(call, this.telemetry)) this.owner.checkSeams('call with telemetry', call);
  }

  startRead(): void {
    // Under interceptors a call that answers once reads by itself, and a second read would break their count. A stream of requests
    // is read once more behind its answer, as grpc-js's own client does: else its end is not seen while requests are written.
    const { requestStream, responseStream } = this.request.method;
    if (this.intercepted && !responseStream && !(requestStream && this.messagesReceived > 0)) return;
    this.call.startRead();
  }

  send(message: unknown, written?: () => void): void {
    // True: without interceptors messages are sent as bytes.
    if (!this.intercepted) this.telemetry?.sent((message as Uint8Array).length);
    this.call.sendMessageWithContext(written === undefined ? NO_CONTEXT : { callback: written }, message);
  }

  halfClose(): void {
    this.call.halfClose();
  }

  cancel(why: AttemptEnd['endedHere'], code: number, details: string): void {
    if (this.ended) return;
    this.endedHere = why;
    if (this.delayedStatus !== undefined) {
      // grpc-js's call has ended.
      this.delayedStatus.replace({ code, details, metadata: new Metadata() });
      return;
    }
    this.call.cancelWithStatus(code, details);
    // In the turn a call is made, grpc-js has no child call yet: it reports the cancel, then sends the RPC all the same and
    // never ends it. By the next turn the child exists, and a second cancel reaches it.
    this.clock.defer(() => {
      this.call.cancelWithStatus(code, details);
    });
  }

  abandon(because?: 'deadline'): void {
    this.listener = NOBODY;
    // Its status comes later, when its call has ended.
    this.telemetry?.end(because === 'deadline' ? StatusCode.DEADLINE_EXCEEDED : StatusCode.CANCELLED, '');
    this.cancel(because ?? 'cancel', StatusCode.CANCELLED, 'Cancelled on client');
  }

  onReceiveMetadata(headers: Metadata): void {
    if (this.ended) return;
    this.headersReceived = true;
    this.headers = headers;
    if (this.owner.inDoubt) this.owner.answeredTo(this.peer, this.startedAt);
    this.listener.onHeaders(headers);
  }

  /** Bytes; under interceptors a message, or null where a call ended without one. */
  onReceiveMessage(received: unknown): void {
    if (this.ended || this.endedHere !== 'no' || received === null) return;
    let message: unknown = received;
    if (!this.intercepted) {
      // True: without interceptors grpc-js hands on the bytes.
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
        const text = error instanceof Error ? error.message : String(error);
        this.cancel('protocol', StatusCode.INTERNAL, `Response message parsing error: ${text}`);
        return;
      }
    }
    this.messagesReceived += 1;
    this.listener.onMessage(message);
  }

  onReceiveStatus(status: StatusObject): void {
    if (this.ended || this.delayedStatus !== undefined) return;
    if (status.code === StatusCode.OK || !this.delays(status)) this.end(status);
  }

  private end(status: StatusObject): void {
    this.ended = true;
    this.code = status.code;
    // An unsupported encoding gives a status without code and text.
    this.details = (status as { details?: string }).details ?? '';
    this.metadata = status.metadata;
    this.channelReady = this.owner.ready;
    if (this.endedHere === 'no' && status.code !== StatusCode.OK) this.endedHere = this.endedByWhom(status.code);
    if (this.endedHere !== 'no') this.tellTimeout();
    // An answer of trailers alone comes without headers.
    if (this.owner.inDoubt && !this.headersReceived && classify(this).reachedServer === 'yes') {
      this.owner.answeredTo(this.peer, this.startedAt);
    }
    if (this.telemetry !== undefined) {
      // A lost connection wears several codes; what callers are told is told here too.
      const { code, details } = classify(this);
      this.telemetry.end(code, details);
    }
    this.owner.attemptEnded();
    this.listener.onEnd(this);
  }

  /**
   * Delays `status` if a server's transport sends it at a shutdown: the GOAWAY, which proves it, may still be on its way. False if the
   * proof is there or would change nothing.
   */
  private delays(status: StatusObject): boolean {
    const { deadline, mayRepeat } = this.request;
    if (!mayRepeat || this.headersReceived || this.endedHere !== 'no') return false;
    if (!SHUTDOWN_STATUSES.has(`${String(status.code)} ${status.details}`)) return false;
    // There is no time for another attempt.
    if (deadline - this.clock.epoch() <= GOAWAY_LAG_MS) return false;
    const { connection, evidence } = this.wireFacts ?? {};
    this.facts = undefined;
    if (connection === undefined || evidence?.connectionOver === true) return false;
    this.delayedStatus = new DelayedStatus(status, connection, this.clock, (delayed) => {
      this.end(delayed);
    });
    return true;
  }

  /** What took too long speaks against its connection. */
  private tellTimeout(): void {
    if (!TOOK_TOO_LONG.has(this.endedHere)) return;
    // A stream that was heard of waited for its next message only, nobody knows since when.
    const wasHeard = this.request.method.responseStream && this.headersReceived;
    this.owner.timedOut(this.peer, this.startedAt, wasHeard ? 0 : this.clock.now() - this.startedAt);
  }

  /** grpc-js keeps a call's deadline and its parent's cancellation by itself; neither is a word of the server. */
  private endedByWhom(code: number): AttemptEnd['endedHere'] {
    if (this.unreadable) return 'protocol';
    if (code === StatusCode.DEADLINE_EXCEEDED && this.clock.epoch() >= this.request.deadline) return 'deadline';
    if (code === StatusCode.CANCELLED && this.request.options?.parent?.cancelled === true) return 'cancel';
    return 'no';
  }

  get picked(): boolean {
    return this.peer !== undefined;
  }

  /** Address of the connection that was picked; `undefined` if none was. */
  get peer(): string | undefined {
    return this.channelCall === undefined ? undefined : pickedPeer(this.channelCall, this.owner.channel);
  }

  get wire(): WireEvidence | undefined {
    return this.wireFacts?.evidence;
  }

  get contentType(): string | undefined {
    const value = this.headers?.get('content-type')[0] ?? this.metadata.get('content-type')[0];
    return value === undefined ? undefined : String(value);
  }

  get connection(): object | undefined {
    return this.wireFacts?.connection;
  }

  private get wireFacts(): WireFacts | undefined {
    if (this.channelCall === undefined) return undefined;
    this.facts ??= readWire(this.channelCall);
    // A response came by a stream, and `metadata` is set.
    if (this.ended && (this.headersReceived || this.contentType !== undefined))
      this.owner.checkSeams('call', this.channelCall);
    return this.facts;
  }
}
