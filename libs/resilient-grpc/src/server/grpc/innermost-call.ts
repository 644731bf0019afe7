import { AsyncResource } from 'node:async_hooks';
import type { Socket } from 'node:net';
import {
  Metadata,
  type ServerInterceptingCall,
  type ServerInterceptingCallInterface,
  type ServerInterceptor,
} from '@grpc/grpc-js';
import { kindOf, OWN_SERIALIZERS } from '../../call/method.js';
import type { Entry } from '../../channel/quirks/unbound-server.js';
import { metadataOf } from '../../channel/subchannel/header-fields.js';
import { errorMessage } from '../../errors/error-message.js';
import { parseGrpcTimeout } from '../../policy/deadline/deadline.js';
import { HTTP2_ERROR_CODES } from '../../status/http2-error-codes.js';
import { isStatusCode, StatusCode } from '../../status/status-code.js';
import type { ServedCallEnd, ServedCallTelemetry, ServerTelemetry } from '../../telemetry/grpc-telemetry.js';
import { MAX_TIMER_MS, type Clock, type Timer } from '../../time/clock.js';
import { inflate, isInflatable, type Inflation } from '../../transport/grpc/inflate.js';
import type { UnreadableMessage } from '../../transport/grpc/message-reader.js';
import { RequestStream, type RequestHandler } from '../../transport/grpc/request-stream.js';
import type { HeaderBlock } from '../../transport/hpack/header-block.js';
import { MAX_BURST_BYTES, MESSAGE_BYTES } from '../../transport/http2/http2-stream.js';
import type { ServerStream } from '../../transport/http2/server-stream.js';
import type { StatusLike, WireCall } from '../calls/wire-call.js';
import { CallMetrics, METRICS_KEY } from './call-metrics.js';
import { sendHead, sendStatus } from './response-fields.js';

/** Receives the paths of methods whose messages cannot be converted, with the error. */
export interface ConversionListener {
  /** Called if a response cannot be serialized. */
  onUnserializable(path: string, reason: string, error: unknown): void;
  /** Called if a request cannot be deserialized. */
  onUnreadable(path: string, error: unknown, code: StatusCode): void;
}

/** What all calls of a server have in common. */
export interface CallSettings {
  readonly clock: Clock;
  /** Maximum size of a message in bytes; `Infinity` for any. */
  readonly maxReceiveBytes: number;
  readonly maxSendBytes: number;
  /** True if metrics that handlers record are sent. */
  readonly sendsMetrics: boolean;
  readonly conversions: ConversionListener;
  /** Called if a part of a status was not sent, because the status exceeds the limit of the client. */
  readonly onCut: (path: string) => void;
}

/** The connection of a call. */
export interface CallConnection {
  readonly peer: string;
  readonly info: ReturnType<ServerInterceptingCallInterface['getConnectionInfo']>;
  readonly socket: Socket;
  readonly authContext: ReturnType<ServerInterceptingCallInterface['getAuthContext']>;
  callEnded(): void;
}

/** Status that was sent, or that a reset replaced. */
export type SentStatus = Pick<ServedCallEnd, 'code' | 'details'>;

/** Listener of an interceptor. grpc-js does not export its type. */
export type Listener = Parameters<ServerInterceptingCallInterface['start']>[0];
export type PartialStatus = Parameters<ServerInterceptingCallInterface['sendStatus']>[0];

/** What an agent may set to observe the end of a call; the names are those of grpc-js. */
interface EventTracker {
  addMessageSent(): void;
  addMessageReceived(): void;
  onStreamEnd(isOk: boolean): void;
  onCallEnd(status: object): void;
}

/** Request fields that are not passed to the application, as in grpc-js. */
const OWN_FIELDS: ReadonlySet<string> = new Set([
  'grpc-timeout',
  'grpc-encoding',
  'grpc-accept-encoding',
  'accept-encoding',
  'te',
  'content-type',
]);
/**
 * A call on a stream of this library's transport, below grpc-js's interceptors and the call that its handler gets. Each call has an async
 * context of its own, so that no call sees another's store.
 */
export class InnermostCall implements ServerInterceptingCallInterface, RequestHandler {
  readonly metadata: Metadata;
  telemetry: ServedCallTelemetry | undefined = undefined;
  callEventTracker: EventTracker | undefined = undefined;
  /** Bytes of the messages that have arrived, as they were sent. */
  receivedBytes = 0;
  /** The status that was sent, or that a reset replaced; `undefined` while there is none, and if the caller was gone before. */
  sentStatus: SentStatus | undefined = undefined;
  private readonly request: RequestStream;
  private readonly context = new AsyncResource('GRPC_SERVER_CALL', { requireManualDestroy: true });
  private readonly hasOneRequest: boolean;
  private readonly hasOneResponse: boolean;
  private listener: Listener | undefined = undefined;
  private deadline = Infinity;
  private deadlineTimer: Timer | undefined = undefined;
  private hasHead = false;
  /** True if the status was sent, or follows the messages that wait for the client. */
  private isAnswered = false;
  private isOver = false;
  private isReadPending = false;
  /** Of the request that arrived last, until it is inflated. */
  private inflation: Inflation | undefined = undefined;
  /**
   * The only request, until it has ended. It is decoded then: a decoded message may take a hundred times as much memory, so nobody should be
   * able to have many of them held.
   */
  private onlyRequest: Buffer | undefined = undefined;
  /** Where requests wait that were delivered and not read, and the largest of them. */
  private reader: Pick<WireCall, 'readableLength'> | undefined = undefined;
  private largestUnread = 0;
  /** Bytes that are kept: of a request that is inflated or has not ended, and decoded, of requests and responses. */
  private keptBytes = 0;
  private keptRequests = 0;
  private keptResponses = 0;
  /** True if the request has ended, and its end was not delivered. */
  private isEndHeld = false;
  /** Messages that wait for the client. */
  private written: WrittenMessage[] | undefined = undefined;
  private burstBytes = 0;
  /** Bytes that were read since other calls had a turn: a window has room for 13,000 empty messages. */
  private readBurstBytes = 0;
  private hasRead = false;
  private metrics: CallMetrics | undefined = undefined;
  private isHandled = false;

  constructor(
    private readonly carrier: ServerStream,
    private readonly block: HeaderBlock,
    isEnd: boolean,
    private readonly entry: Entry,
    readonly connection: CallConnection,
    private readonly settings: CallSettings,
  ) {
    const { type } = entry;
    this.hasOneRequest = type === 'unary' || type === 'serverStream';
    this.hasOneResponse = type === 'unary' || type === 'clientStream';
    this.metadata = metadataOf(block, OWN_FIELDS);
    const { maxReceiveBytes } = settings;
    const format = { maxMessageBytes: maxReceiveBytes, encoding: block.grpcEncoding };
    this.request = new RequestStream(carrier, this, format, isEnd);
    if (block.grpcTimeout !== undefined) this.startDeadline(block.grpcTimeout);
  }

  private startDeadline(text: string): void {
    const { clock } = this.settings;
    const ms = parseGrpcTimeout(text);
    if (ms === undefined) {
      const details = `Invalid grpc-timeout value "${text}"`;
      process.nextTick(() => {
        this.sendStatus({ code: StatusCode.INTERNAL, details });
      });
      return;
    }
    this.deadline = clock.epoch() + Math.trunc(ms);
    if (ms > MAX_TIMER_MS) return;
    this.deadlineTimer = clock.setTimer(
      () => {
        // Nothing can pass the messages that the client does not read.
        if (this.isAnswered) this.reset(this.sentStatus);
        else this.sendStatus({ code: StatusCode.DEADLINE_EXCEEDED, details: 'Deadline exceeded' });
      },
      Math.trunc(ms),
      true,
    );
  }

  /**
   * Starts the handler below `interceptors`, the first of which is closest to the wire.
   *
   * @param run passes a call to the handler of the entry
   * @returns what receives the events of the stream
   */
  begin(
    interceptors: readonly ServerInterceptor[],
    run: (call: ServerInterceptingCallInterface, entry: Entry) => void,
    telemetry: ServerTelemetry | undefined,
  ): RequestStream {
    // Handlers of streams, and interceptors, begin before the first message.
    this.carrier.isDelivered = !this.hasOneRequest || interceptors.length > 0;
    this.guarded(() => {
      const { metadata, entry, hasOneRequest, hasOneResponse } = this;
      const kind = kindOf({ requestStream: !hasOneRequest, responseStream: !hasOneResponse });
      this.telemetry = telemetry?.begin({ path: entry.path, kind, metadata });
      const start = (): void => {
        run(interceptors.length === 0 ? this : this.intercepted(interceptors), entry);
      };
      if (this.telemetry === undefined) start();
      else this.telemetry.within(start);
    });
    return this.request;
  }

  private intercepted(interceptors: readonly ServerInterceptor[]): ServerInterceptingCallInterface {
    const { path, serialize, deserialize } = this.entry;
    const definition = {
      path,
      requestStream: !this.hasOneRequest,
      responseStream: !this.hasOneResponse,
      requestDeserialize: deserialize,
      responseSerialize: serialize,
    };
    return interceptors.reduce<ServerInterceptingCallInterface>(
      (call, intercept): ServerInterceptingCall => intercept(definition, call),
      this,
    );
  }

  // ── of this library ──

  /** True if the stream has ended. Then nothing can be sent, and listeners may not have been told yet. */
  get isClosed(): boolean {
    return this.carrier.isClosed;
  }

  /** The requests are read from `reader`, and count until then. */
  readFrom(reader: Pick<WireCall, 'readableLength'>): void {
    this.reader = reader;
  }

  /** An Observable is `bytes` ahead of the client. */
  keepResponses(bytes: number): void {
    this.keptResponses = bytes;
    this.carrier.keep(this.keptBytes, this.keptRequests + bytes);
  }

  /** The stream counts for its connection until `handled()`. */
  handle(): void {
    this.isHandled = true;
  }

  /** The handler has ended, or counts as leaked. */
  handled(): void {
    this.isHandled = false;
    if (this.isOver) this.carrier.release();
  }

  /** Ends the call without a status, because the client does not read the messages before it. `status` is recorded in its place. */
  reset(status?: { readonly code: number; readonly details: string }): void {
    if (this.isOver) return;
    this.sentStatus = status && recorded(status.code, status.details);
    // REFUSED_STREAM, the code for UNAVAILABLE, would mean that the request was not processed; clients map ENHANCE_YOUR_CALM back.
    const isExhausted = status?.code === StatusCode.RESOURCE_EXHAUSTED;
    this.carrier.cancel(isExhausted ? HTTP2_ERROR_CODES.ENHANCE_YOUR_CALM : HTTP2_ERROR_CODES.CANCEL);
    this.over();
  }

  /** Ends a call that nothing has processed, so that its client sends it again elsewhere. */
  refuse(): void {
    this.carrier.cancel(HTTP2_ERROR_CODES.REFUSED_STREAM);
    this.over();
  }

  // ── of grpc-js ──

  start(listener: Listener): void {
    if (this.isOver) return;
    this.listener = listener;
    listener.onReceiveMetadata(this.metadata);
  }

  /** The part of grpc-js's HTTP/2 stream that applications read. */
  get stream(): { readonly session: { readonly socket: Socket } } {
    return { session: { socket: this.connection.socket } };
  }

  startRead(): void {
    if (this.isOver || this.isReadPending) return;
    this.isReadPending = true;
    if (this.isEndHeld) this.ended();
    else if (this.readBurstBytes < MAX_BURST_BYTES) {
      if (this.hasOneRequest || this.hasRead) this.request.request(1);
      // Not while Node's stream asks for it: the stream would call its listeners in a later tick, and what they throw would end the process.
      // For the first message only, because Node's stream passes many on at less cost in a tick of its own.
      else
        queueMicrotask(() => {
          if (!this.isOver) this.request.request(1);
        });
      this.hasRead = true;
    } else {
      this.settings.clock.defer(() => {
        this.readBurstBytes = 0;
        if (!this.isOver) this.request.request(1);
      });
    }
  }

  sendMetadata(metadata: Metadata): void {
    if (this.isOver || this.hasHead || this.isAnswered) return;
    this.hasHead = sendHead(this.carrier, metadata);
    if (this.hasHead) return;
    // The client might end the whole connection.
    const details = 'The metadata of the response exceed the limit of the client';
    this.sendStatus({ code: StatusCode.INTERNAL, details });
  }

  sendMessage(message: unknown, callback: () => void): void {
    if (this.isOver || this.isAnswered) return;
    const { settings, carrier } = this;
    const bytes = this.serialized(message);
    if (bytes === undefined) return;
    const { maxSendBytes } = settings;
    if (bytes.length > maxSendBytes) {
      // The text of grpc-js, which counts the prefix.
      const details = `Sent message larger than max (${String(bytes.length + 5)} vs. ${String(maxSendBytes)})`;
      this.sendStatus({ code: StatusCode.RESOURCE_EXHAUSTED, details });
      return;
    }
    if (!this.hasHead) {
      this.hasHead = true;
      sendHead(carrier);
    }
    this.telemetry?.sent(bytes.length);
    this.callEventTracker?.addMessageSent();
    const mayContinue = carrier.send(bytes, 0, OWN_SERIALIZERS.has(this.entry.serialize));
    this.burstBytes += bytes.length + MESSAGE_BYTES;
    // The status of the only response follows it, however long it waits.
    if (this.hasOneResponse || (mayContinue && this.burstBytes < MAX_BURST_BYTES)) callback();
    else {
      (this.written ??= []).push(new WrittenMessage(callback));
      carrier.awaitDrain();
    }
  }

  private serialized(message: unknown): Buffer | undefined {
    const { entry, settings } = this;
    try {
      return entry.serialize(message);
    } catch (error) {
      settings.conversions.onUnserializable(entry.path, reasonOf(error, message), error);
      this.sendStatus({ code: StatusCode.INTERNAL, details: 'Error serializing response' });
      return undefined;
    }
  }

  sendStatus(status: PartialStatus): void {
    if (this.isOver || this.isAnswered) return;
    this.isAnswered = true;
    const { carrier, entry, settings } = this;
    const { code, metadata } = status;
    this.request.stop();
    if (this.inflation !== undefined) this.dropInflation();
    this.callEventTracker?.onStreamEnd(true);
    this.callEventTracker?.onCallEnd(status);
    try {
      // JavaScript handlers may omit the text, or set anything; as in grpc-js, its string is sent.
      const text: unknown = (status as Partial<PartialStatus>).details ?? '';
      const details = typeof text === 'string' ? text : errorMessage(text);
      this.sentStatus = recorded(code, details);
      const isWhole = sendStatus(carrier, this.hasHead, { code, details, metadata: this.withMetrics(metadata) });
      if (!isWhole) settings.onCut(entry.path);
    } catch (error) {
      // Nothing can be sent, and the call must not stay open.
      settings.conversions.onUnserializable(entry.path, errorMessage(error), error);
      this.sentStatus = recorded(StatusCode.INTERNAL, 'Error serializing response');
      carrier.cancel(HTTP2_ERROR_CODES.INTERNAL_ERROR);
      this.over();
    }
    if (carrier.isClosed) this.over();
  }

  private withMetrics(metadata: Metadata | null | undefined): StatusLike['metadata'] {
    if (this.metrics === undefined || !this.settings.sendsMetrics) return metadata ?? undefined;
    const copy = metadata?.clone() ?? new Metadata();
    copy.set(METRICS_KEY, this.metrics.serialize());
    return copy;
  }

  getPeer(): string {
    return this.connection.peer;
  }

  getDeadline(): number {
    return this.deadline;
  }

  getHost(): string {
    return this.block.authority ?? String(this.metadata.get('host')[0] ?? '');
  }

  getAuthContext(): CallConnection['authContext'] {
    return this.connection.authContext;
  }

  getConnectionInfo(): CallConnection['info'] {
    return this.connection.info;
  }

  getMetricsRecorder(): ReturnType<ServerInterceptingCallInterface['getMetricsRecorder']> {
    this.metrics ??= new CallMetrics();
    // The cast is needed because grpc-js's class has private fields. These are all its methods.
    return this.metrics as unknown as ReturnType<ServerInterceptingCallInterface['getMetricsRecorder']>;
  }

  // ── of the request ──

  message(message: Buffer, isCompressed: boolean): void {
    this.receivedBytes += message.length;
    this.readBurstBytes += message.length + MESSAGE_BYTES;
    this.callEventTracker?.addMessageReceived();
    if (isCompressed) this.inflate(message);
    else this.take(message);
  }

  private inflate(message: Buffer): void {
    const { grpcEncoding = '' } = this.block;
    if (!isInflatable(grpcEncoding)) {
      const details = `Received message compressed with unsupported encoding "${grpcEncoding}"`;
      this.sendStatus({ code: StatusCode.UNIMPLEMENTED, details });
      return;
    }
    const { maxReceiveBytes } = this.settings;
    this.inflation = inflate(grpcEncoding, message, maxReceiveBytes);
    this.keepRequest(message.length);
    void this.inflation.result.then((result) => {
      this.inflation = undefined;
      this.keepRequest();
      if (this.isOver || this.isAnswered) return;
      if (result === 'too-large') {
        this.rejectSize(`Received message that decompresses to a size larger than ${String(maxReceiveBytes)}`);
      } else if (result === 'unreadable')
        this.sendStatus({ code: StatusCode.INTERNAL, details: 'Failed to decompress message' });
      else this.take(result);
    });
  }

  /** A request that waits to be inflated is not needed any more. One that is being inflated counts until the end of that. */
  private dropInflation(): void {
    if (this.inflation?.drop() === true) this.keepRequest();
  }

  private take(bytes: Buffer): void {
    if (this.hasOneRequest && this.onlyRequest === undefined) {
      this.onlyRequest = bytes;
      this.carrier.awaitsEnd = true;
      this.keep(bytes.length);
      if (this.isEndHeld) this.ended();
      else this.request.request(1);
      return;
    }
    // The handler answers a second request where one is allowed.
    this.handOver();
    this.deserialize(bytes);
  }

  private handOver(): void {
    const { onlyRequest } = this;
    this.onlyRequest = undefined;
    if (onlyRequest === undefined) return;
    this.keep(0);
    if (this.carrier.deliver(onlyRequest.length)) this.deserialize(onlyRequest);
    else if (!this.carrier.isDelivered) this.refuse();
    // Interceptors have seen it.
    else this.sendStatus({ code: StatusCode.RESOURCE_EXHAUSTED, details: 'The memory of the server is used up' });
  }

  private deserialize(bytes: Buffer): void {
    const { entry, settings } = this;
    let message: unknown;
    try {
      message = entry.deserialize(bytes);
    } catch (error) {
      settings.conversions.onUnreadable(entry.path, error, StatusCode.INTERNAL);
      this.sendStatus({ code: StatusCode.INTERNAL, details: 'Error deserializing request' });
      return;
    }
    this.isReadPending = false;
    this.carrier.isDelivered = true;
    this.telemetry?.received(bytes.length);
    this.pass(receiveMessage, message);
    if (this.hasOneRequest) return;
    const unread = this.reader?.readableLength ?? 0;
    this.largestUnread = unread === 0 ? 0 : Math.max(this.largestUnread, bytes.length);
    this.keptRequests = unread * this.largestUnread;
    this.keep(0);
  }

  private keepRequest(inflatingBytes = 0): void {
    this.keep((this.onlyRequest?.length ?? 0) + inflatingBytes);
  }

  private keep(bytes: number): void {
    this.keptBytes = bytes;
    this.carrier.keep(bytes, this.keptRequests + this.keptResponses);
  }

  ended(): void {
    this.isEndHeld = !this.isReadPending || this.inflation !== undefined;
    if (this.isEndHeld || this.isAnswered) return;
    this.isReadPending = false;
    // The handler of a single request runs now.
    if (this.hasOneRequest) TURNS.add(this);
    else this.endRequest();
  }

  endRequest(): void {
    if (!this.isOver && !this.isAnswered) this.handOver();
    if (!this.isOver && !this.isAnswered) this.pass(receiveHalfClose, undefined);
  }

  unreadable({ problem, details }: UnreadableMessage): void {
    if (problem === 'too-large') this.rejectSize(details);
    else this.sendStatus({ code: StatusCode.INTERNAL, details });
  }

  private rejectSize(details: string): void {
    const code = StatusCode.RESOURCE_EXHAUSTED;
    this.settings.conversions.onUnreadable(this.entry.path, details, code);
    this.sendStatus({ code, details });
  }

  failed(): void {
    if (this.isOver) return;
    // The status has not left.
    this.sentStatus = undefined;
    if (!this.isAnswered) {
      this.callEventTracker?.onStreamEnd(false);
      this.callEventTracker?.onCallEnd({ code: StatusCode.CANCELLED, details: 'Stream closed before sending status' });
    }
    this.over();
  }

  drained(): void {
    if (this.carrier.isClosed) {
      this.over();
      return;
    }
    this.burstBytes = 0;
    const { written } = this;
    this.written = undefined;
    if (written !== undefined) for (const message of written) message.runInAsyncScope(message.callback);
  }

  /** Nothing more can be sent. */
  private over(): void {
    if (this.isOver) return;
    this.isOver = true;
    this.deadlineTimer?.clear();
    if (this.inflation !== undefined) this.dropInflation();
    this.written = undefined;
    const { sentStatus, telemetry, receivedBytes } = this;
    if (telemetry !== undefined) {
      const isLate = this.settings.clock.epoch() >= this.deadline;
      const code = isLate ? StatusCode.DEADLINE_EXCEEDED : StatusCode.CANCELLED;
      telemetry.end({ ...(sentStatus ?? { code, details: '' }), receivedBytes });
    }
    this.connection.callEnded();
    if (!this.isHandled) this.carrier.release();
    // As in grpc-js, a bidirectional call that ended normally is not yet `cancelled` when its handler is told that it has closed.
    if (sentStatus === undefined || this.hasOneRequest || this.hasOneResponse) process.nextTick(reportEnd, this);
    else {
      this.settings.clock.defer(() => {
        this.report();
      });
    }
  }

  /** Tells the listener that the call is over: as in grpc-js, at the end of every call. */
  report(): void {
    this.pass(cancel, undefined);
    this.context.emitDestroy();
  }

  /** Passes an event to the listener, in the context of the call. */
  private pass<V>(receive: (listener: Listener, value: V) => void, value: V): void {
    const { listener, telemetry } = this;
    if (listener === undefined) return;
    if (telemetry === undefined) this.guarded(receive, listener, value);
    else {
      this.guarded(() => {
        telemetry.within(() => {
          receive(listener, value);
        });
      });
    }
  }

  /** Runs `work` in the context of the call. What it throws ends this call only, and is an unhandled rejection, as in grpc-js. */
  private guarded<Args extends unknown[]>(work: (...args: Args) => void, ...args: Args): void {
    try {
      this.context.runInAsyncScope(work, undefined, ...args);
    } catch (error) {
      this.reset();
      void Promise.resolve().then(() => {
        throw error;
      });
    }
  }
}

/** A message that waits for the client. What waits for it goes on in the async context in which it was sent, as in grpc-js. */
class WrittenMessage extends AsyncResource {
  constructor(readonly callback: () => void) {
    super('GRPC_WRITE');
  }
}

/**
 * Starts handlers one after the other, each when the microtasks of the one before have run. Nest's handlers run in microtasks, so the overload
 * gate could otherwise not see how long they take before it had started all requests of a read.
 */
class HandlerTurns {
  private readonly waiting: (InnermostCall | undefined)[] = [];
  private at = 0;
  private isRunning = false;

  add(call: InnermostCall): void {
    this.waiting.push(call);
    if (this.isRunning) return;
    this.isRunning = true;
    process.nextTick(this.step);
  }

  private readonly step = (): void => {
    const call = this.waiting[this.at];
    if (call === undefined) {
      this.waiting.length = 0;
      this.at = 0;
      this.isRunning = false;
      return;
    }
    this.waiting[this.at] = undefined;
    this.at += 1;
    // First, because the handler may throw. A tick that a microtask schedules runs after all microtasks.
    queueMicrotask(this.stepLater);
    call.endRequest();
  };

  private readonly stepLater = (): void => {
    process.nextTick(this.step);
  };
}

const TURNS = new HandlerTurns();

/**
 * Returns the innermost call of a server call: of the call that a handler receives, whose `call` interceptors may have wrapped (`nextCall`), or
 * of one of these. `undefined` if grpc-js serves the call.
 */
export function innermostCallOf(serverCall: object): InnermostCall | undefined {
  let call: unknown = Reflect.get(serverCall, 'call') ?? serverCall;
  while (typeof call === 'object' && call !== null) {
    if (call instanceof InnermostCall) return call;
    call = Reflect.get(call, 'nextCall');
  }
  return undefined;
}

function recorded(code: number, details: string): SentStatus {
  return { code: isStatusCode(code) ? code : StatusCode.UNKNOWN, details };
}

/** Returns the serializer's error message. Names the type of a response that is not an object, but not its value, which may be a secret. */
export function reasonOf(error: unknown, message: unknown): string {
  const reason = errorMessage(error);
  if (typeof message === 'object' && message !== null) return reason;
  const found = message === undefined || message === null ? String(message) : `a ${typeof message}`;
  return `${reason}, got ${found}`;
}

function receiveMessage(listener: Listener, message: unknown): void {
  listener.onReceiveMessage(message);
}

function receiveHalfClose(listener: Listener): void {
  listener.onReceiveHalfClose();
}

function cancel(listener: Listener): void {
  listener.onCancel();
}

function reportEnd(call: InnermostCall): void {
  call.report();
}
