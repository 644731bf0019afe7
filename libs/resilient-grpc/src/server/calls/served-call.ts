import { Metadata } from '@grpc/grpc-js';
import type { EventHub } from '../../call/event-hub.js';
import { isThenable } from '../../call/iterator-source.js';
import type { MethodKind } from '../../call/method.js';
import { runInbound } from '../../client/caller/caller-context.js';
import { AbortError } from '../../errors/library-error.js';
import { GrpcInboundCall, type GrpcServerCall } from '../../nest/inbound/grpc-inbound-call.js';
import type { FifoEntry, ServiceTime } from '../../policy/overload/overload-queue.js';
import { isStatusCode, StatusCode } from '../../status/status-code.js';
import type { Clock, Timer } from '../../time/clock.js';
import type { RunningTime } from '../../time/running-time.js';
import { serverStatusOf } from '../errors/server-status.js';
import type { GrpcServerEvent } from '../../call/server-event.js';
import { innermostCallOf, type InnermostCall } from '../grpc/innermost-call.js';
import type { ResolvedServerMethod } from '../server-options.js';
import type { AnswerCallback, StatusLike, WireCall } from './wire-call.js';

export interface ServedMethod {
  readonly path: string;
  readonly kind: MethodKind;
  readonly options: ResolvedServerMethod;
  /** Nest's handler, with its guards, pipes, interceptors, and filters. */
  readonly handler: ServedHandler;
  /** CPU time of the handler until it first waits or ends, measured for calls that `OverloadGate` queued or that were alone in a batch. */
  readonly serviceTime: ServiceTime;
  serialize(message: unknown): Uint8Array;
}

/** Nest's handler of a method: (request or requests, metadata, call), or (call, callback?) for a `@GrpcStreamCall`. */
export type ServedHandler = (...args: unknown[]) => unknown;

/** Server-side dependencies of a call. */
export interface CallHost {
  readonly clock: Clock;
  /** Time that passes only while a stream is open and this process runs. */
  readonly runningTime: Pick<RunningTime, 'now'>;
  readonly events: EventHub<GrpcServerEvent>;
  /** True if outgoing calls can be bound to inbound calls. Each handler then runs in the context of its call. */
  readonly captures: boolean;
  /** Called when the call is over for its caller; its handler may still be running. */
  callOver(call: ServedCall): void;
  /** Called when the handler of a call that is over has ended. */
  handlerDone(call: ServedCall): void;
}

const OK: StatusLike = { code: StatusCode.OK, details: 'OK' };

/** Maximum rounding error of `ServedCall.deadline` in milliseconds. The clock's epoch time is an integer. */
const DEADLINE_ERROR_MS = 1;

const SERVED = Symbol('served call');
type Served = WireCall & { [SERVED]?: ServedCall };

/** One inbound call, from its start to the end of its handler. */
export abstract class ServedCall implements FifoEntry<ServedCall> {
  /** Start in monotonic milliseconds; 0 for a unary call if no consumer needs it. */
  readonly startedAt: number;
  /**
   * Deadline in monotonic milliseconds, as grpc-js enforces it; `Infinity` if the call has none. Steps of the wall clock do not affect it.
   */
  readonly deadline: number;
  /** Time of the latest message of a stream, in either direction, in monotonic milliseconds; `startedAt` before the first message. */
  lastActivityAt: number;
  sent = 0;
  received = 0;
  /** True if the call is over for its caller: answered, cancelled, or past its deadline. */
  over = false;
  overAt = 0;
  /** Status code of the call; `undefined` until it is over. */
  endCode: number | undefined;
  /** True if the handler has ended, or will not run. */
  done = false;
  /** True if the handler leak of this call was reported; it is reported once. */
  leakReported = false;
  /** Called when the call ends while it is waiting for its handler to start; `undefined` if it is not waiting. */
  onEndWhileHeld: (() => void) | undefined;
  limitTimer: Timer | undefined;
  // Place among the open calls.
  readonly weight = 0;
  isRemoved = false;
  previous: ServedCall | undefined;
  next: ServedCall | undefined;
  private handlerEnded: (() => void) | undefined;
  protected inboundCall: GrpcInboundCall | undefined;
  private stoppedBy: Error | undefined;
  /** Trailers that the handler has requested and can fill; `undefined` if it has requested none. */
  private handlerTrailers: Metadata | undefined;
  private readonly peerAtBegin: string | undefined;
  /** The call on the transport of this library; `undefined` if grpc-js serves it. */
  readonly innermost: InnermostCall | undefined;

  constructor(
    readonly wire: WireCall,
    readonly method: ServedMethod,
    protected readonly host: CallHost,
    /** Called when the handler has ended, or will not run. */
    private readonly onDone: (() => void) | undefined,
    /** Sends the only response; `undefined` if the method streams its responses. */
    protected readonly callback?: AnswerCallback,
  ) {
    const { clock, events } = host;
    const { everyCallWanted } = events;
    // `startedAt` and `peerAtBegin` are not recorded for unobserved unary calls, because most of these calls end before the values are
    // needed.
    const isObserved = everyCallWanted || host.captures || method.kind !== 'unary';
    const deadline = Number(wire.getDeadline());
    const isLimited = Number.isFinite(deadline);
    const now = isObserved || isLimited ? clock.now() : 0;
    this.startedAt = this.lastActivityAt = isObserved ? now : 0;
    this.deadline = isLimited ? now + deadline - clock.epoch() : Infinity;
    this.peerAtBegin = isObserved ? wire.getPeer() : undefined;
    this.innermost = innermostCallOf(wire);
    if (method.kind === 'client-stream' || method.kind === 'bidi') this.innermost?.readFrom(wire);
    // The cast is safe: the key is private to this module.
    (wire as Served)[SERVED] = this;
    // grpc-js emits 'cancelled' at the end of every call.
    wire.on('cancelled', () => {
      if (!this.over) {
        this.inContext(() => {
          this.onWireEnd();
        });
      }
      if (everyCallWanted) this.reportEnd();
    });
    if (everyCallWanted) events.emit({ type: 'call-start', path: method.path, kind: method.kind });
  }

  /** The call in the form that handlers and outgoing calls use. */
  get inbound(): GrpcInboundCall {
    this.inboundCall ??= new GrpcInboundCall(this.inboundWire(), this.host.clock, {
      streaming: this.method.kind !== 'unary',
      startedAt: this.startedAt === 0 ? this.host.clock.now() : this.startedAt,
    });
    // If the call was already stopped, the new signal must be aborted.
    if (this.stoppedBy !== undefined) this.inboundCall.stop(this.stoppedBy);
    return this.inboundCall;
  }

  /** Returns what ends the signal of the handler. */
  protected inboundWire(): GrpcServerCall {
    return this.wire;
  }

  /**
   * Runs the handler, in the context of this call if outgoing calls can be bound to this call.
   * @param request the request message, or the stream of requests; `undefined` if the handler reads them from the call
   */
  serve(request?: unknown): void {
    // If inbound calls are not captured, no closure is created per call.
    if (this.host.captures) runInbound(this.inbound, () => this.run(request));
    else this.run(request);
  }

  private run(request: unknown): void {
    let result: unknown;
    try {
      result = this.callHandler(request);
    } catch (error) {
      this.onError(error, false);
      return;
    }
    if (isThenable(result)) {
      result.then(
        (value) => {
          this.onResult(value);
        },
        (error: unknown) => {
          this.onError(error, false);
        },
      );
    } else this.onResult(result);
  }

  protected callHandler(request: unknown): unknown {
    const { kind, handler } = this.method;
    if (kind === 'unary' || kind === 'server-stream') this.received = 1;
    return handler(request, this.wire.metadata, this.wire);
  }

  /** Receives the handler's result; if the result is a promise, the value to which it resolves. */
  protected abstract onResult(result: unknown): void;
  /**
   * Receives the error of the handler.
   * @param filtered false if the error was thrown, for example by an exception filter. An error that has passed Nest's filters arrives
   * through an Observable.
   */
  protected abstract onError(error: unknown, filtered?: boolean): void;

  /** Ends the call, and returns true, if its caller cancelled or its deadline passed before its handler started. */
  endIfOver(): boolean {
    const { innermost, wire } = this;
    if (!wire.cancelled && !this.isClosed && innermost?.sentStatus === undefined) return false;
    this.done = true;
    this.end(this.abortCode);
    this.notifyDone();
    return true;
  }

  get isStopped(): boolean {
    return this.stoppedBy !== undefined;
  }

  /** True if the call will end without further action: it was stopped, or its handler has finished. */
  get isEnding(): boolean {
    return this.isStopped;
  }

  /** Ends the call with OK after the messages that its handler has produced. */
  endOk(): void {
    this.stop(OK);
  }

  /** Trailers that are sent with the status; the handler adds entries. */
  get trailers(): Metadata {
    this.handlerTrailers ??= new Metadata();
    return this.handlerTrailers;
  }

  /** Trailers of a call that ends with OK; `undefined` if the handler requested none. */
  protected get okTrailers(): Metadata | undefined {
    return this.handlerTrailers === undefined ? undefined : this.withTrailers(OK).metadata;
  }

  /** Adds the handler's trailers to `status`. */
  protected withTrailers(status: StatusLike): StatusLike {
    if (this.handlerTrailers === undefined) return status;
    const metadata = this.handlerTrailers.clone();
    if (status.metadata !== undefined) metadata.merge(status.metadata);
    return { ...status, metadata };
  }

  /** Runs `work`, with its asynchronous continuations, in the context of this call if outgoing calls can be bound to this call. */
  inContext(work: () => void): void {
    if (this.host.captures) runInbound(this.inbound, work);
    else work();
  }

  /** Address of the peer. For streams and observed calls, also available after the connection has closed. */
  get peer(): string {
    return this.peerAtBegin ?? this.wire.getPeer();
  }

  /** What the calls of one connection have in common; of grpc-js's connections, the address of the peer. */
  get connection(): unknown {
    return this.innermost?.connection ?? this.wire.getPeer();
  }

  /** True if the caller is no longer waiting: it cancelled or disconnected, or the deadline passed. */
  get isCallerGone(): boolean {
    return this.wire.cancelled || this.isClosed || this.deadlinePassed;
  }

  private get isClosed(): boolean {
    return this.innermost?.isClosed === true;
  }

  private get deadlinePassed(): boolean {
    return this.host.clock.now() >= this.deadline - DEADLINE_ERROR_MS;
  }

  /** Code of a call that ended without a status from the server. */
  private get abortCode(): StatusCode {
    return this.deadlinePassed ? StatusCode.DEADLINE_EXCEEDED : StatusCode.CANCELLED;
  }

  /** True if the call is server-streaming or bidirectional. */
  get streamsResponses(): boolean {
    const { kind } = this.method;
    return kind === 'server-stream' || kind === 'bidi';
  }

  /** Ends the call before its handler does: sends `status` after the messages already written, then releases the handler. */
  stop(status: StatusLike): void {
    if (this.over || this.stoppedBy !== undefined) return;
    this.stoppedBy = new AbortError(status.details);
    // Sent first, so that the handler's reaction to its release cannot become the response.
    this.send(status);
    this.releaseHandlerQuietly();
    this.abortSignal(this.stoppedBy);
  }

  protected abortSignal(reason: Error): void {
    this.inboundCall?.stop(reason);
  }

  /** Ends the call without running its handler. */
  refuse(status: StatusLike): void {
    this.release();
    this.send(status);
  }

  /** Ends a call that arrived too late for this server: its client sends it again elsewhere if the transport can tell that it may. */
  turnAway(status: StatusLike): void {
    const { innermost } = this;
    if (innermost === undefined) this.refuse(status);
    else {
      this.release();
      innermost.refuse();
    }
  }

  /** Ends the call even if the client is not reading; in that case, the stream is reset. */
  cut(status: StatusLike): void {
    if (this.over) return;
    if (this.isClosed) {
      // The end is recorded here, because grpc-js might emit no further event for a call whose stream is closed.
      this.onWireEnd();
      return;
    }
    // A status would be sent only after the waiting messages.
    const stuck = this.streamsResponses && this.wire.writableLength > 0;
    this.stop(status);
    // The cast is needed because `stop` may have changed `over`.
    if (stuck && !(this.over as boolean)) this.innermost?.reset(status);
  }

  /** Releases the handler's result: unsubscribes from Observables and closes iterators. */
  protected abstract releaseHandler(): void;

  /** Releases the handler and reports errors of its teardown. Such errors must not prevent the end of a call or a drain. */
  protected releaseHandlerQuietly(): void {
    try {
      this.releaseHandler();
    } catch (error) {
      const { events } = this.host;
      if (events.wanted) events.emit({ type: 'handler-failed', path: this.method.path, error });
      this.release();
    }
  }

  protected abstract send(status: StatusLike): void;

  /** Returns the status of a failed handler. Reports the error if it is unexpected. */
  protected failureStatus(error: unknown, filtered: boolean): StatusLike {
    const { unexpected, ...status } = serverStatusOf(error, filtered);
    const { events } = this.host;
    if (unexpected === true && events.wanted) events.emit({ type: 'handler-failed', path: this.method.path, error });
    return status;
  }

  /** Called when nothing more can be sent: the status was sent, the caller cancelled or disconnected, or the deadline passed. */
  protected onWireEnd(): void {
    this.end(this.abortCode);
    this.releaseHandlerQuietly();
  }

  protected end(code: number): void {
    if (this.over) return;
    const { host, onEndWhileHeld } = this;
    this.over = true;
    this.endCode = code;
    if (onEndWhileHeld !== undefined) {
      this.onEndWhileHeld = undefined;
      onEndWhileHeld();
      this.release();
    }
    if (!this.done) this.overAt = host.clock.now();
    if (code !== StatusCode.CANCELLED && code !== StatusCode.DEADLINE_EXCEEDED) this.inboundCall?.end();
    host.callOver(this);
  }

  /** Reports the status that ended the call on the wire. This status differs from the handler's if the response cannot be sent. */
  private reportEnd(): void {
    const { method, sent, received, host, innermost } = this;
    // grpc-js does not tell what it sent.
    const status = innermost === undefined ? this.endCode : innermost.sentStatus?.code;
    const code = isStatusCode(status) ? status : this.abortCode;
    const durationMs = host.clock.now() - this.startedAt;
    const end = { code, peer: this.peer, durationMs, sent, received };
    host.events.emit({ type: 'call-end', path: method.path, kind: method.kind, end });
  }

  /** Marks the handler as ended, or as one that will not run. */
  protected release(): void {
    if (this.done) return;
    this.done = true;
    this.notifyDone();
  }

  /** Calls `listener` when the handler has ended or will not run. Listeners are called in the order in which they were added. */
  onHandlerEnd(listener: () => void): void {
    const earlier = this.handlerEnded;
    this.handlerEnded =
      earlier === undefined
        ? listener
        : () => {
            earlier();
            listener();
          };
  }

  protected notifyDone(): void {
    if (this.over) this.host.handlerDone(this);
    this.onDone?.();
    this.handlerEnded?.();
  }

  noteReceived(): void {
    this.received += 1;
    this.lastActivityAt = this.host.clock.now();
  }
}

/** Returns the `ServedCall` of a grpc-js call; `undefined` if another strategy serves it. */
export function servedCallOf(wire: object): ServedCall | undefined {
  const found: unknown = Reflect.get(wire, SERVED);
  return found instanceof ServedCall ? found : undefined;
}
