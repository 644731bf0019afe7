import type { EventHub } from '../../call/event-hub.js';
import { runInbound } from '../../client/inbound-context.js';
import { GrpcInboundCall } from '../../nest/inbound/grpc-inbound-call.js';
import { StatusCode } from '../../status/status-code.js';
import type { Clock } from '../../time/clock.js';
import { isStreamClosed, isStreamOver, resetStream, sentStatusOf } from '../quirks/http2-stream.js';
import type { GrpcServerEvent } from '../../call/server-event.js';
import type { ServedMethod, StatusLike } from './served-method.js';
import type { WireCall } from './wire-call.js';

/** What a call needs of the server. */
export interface CallHost {
  readonly clock: Clock;
  readonly events: EventHub<GrpcServerEvent>;
  /** Outgoing calls may be bound to this one, so handlers run in its context. */
  readonly captures: boolean;
  /** The call is over for its caller; its handler may still run. */
  callOver(call: ServedCall): void;
  /** Its handler has ended. */
  handlerDone(call: ServedCall): void;
}

/** How grpc-js's call leads to ours. */
const SERVED = Symbol('served call');
type Served = WireCall & { [SERVED]?: ServedCall };

/** One call that is being served, from its begin to the end of its handler. */
export abstract class ServedCall {
  /** Monotonic milliseconds; 0 of a unary call that nobody asks for it. */
  readonly startedAt: number;
  /** Of the latest message that passed. */
  lastActivityAt: number;
  sent = 0;
  received = 0;
  /** Over for its caller: answered, cancelled, or past its deadline. */
  over = false;
  overAt = 0;
  /** The handler has ended. */
  done = false;
  /** A leak is told once. */
  leakTold = false;
  private inboundCall: GrpcInboundCall | undefined;
  private stoppedBy: Error | undefined;
  private readonly peerAtBegin: string | undefined;

  constructor(
    readonly wire: WireCall,
    readonly method: ServedMethod,
    protected readonly host: CallHost,
    /** Told when the handler has ended. */
    private readonly onDone: (() => void) | undefined,
  ) {
    const { everyCallWanted } = host.events;
    // Most unary calls are over before anybody looks at them.
    const looked = everyCallWanted || host.captures || method.kind !== 'unary';
    this.startedAt = this.lastActivityAt = looked ? host.clock.now() : 0;
    this.peerAtBegin = looked ? wire.getPeer() : undefined;
    // True: what is put there is looked for by the same key alone.
    (wire as Served)[SERVED] = this;
    // It comes at the end of every call.
    wire.on('cancelled', () => {
      if (!this.over) {
        this.inContext(() => {
          this.onWireEnd();
        });
      }
      if (everyCallWanted) this.tellEnd();
    });
    if (everyCallWanted) host.events.emit({ type: 'call-start', path: method.path, kind: method.kind });
  }

  /** As outgoing calls and handlers see it. */
  get inbound(): GrpcInboundCall {
    this.inboundCall ??= new GrpcInboundCall(this.wire, this.host.clock, {
      streaming: this.method.kind !== 'unary',
      startedAt: this.startedAt === 0 ? this.host.clock.now() : this.startedAt,
    });
    // Whoever asks now for its signal has to hear of what was before.
    if (this.stoppedBy !== undefined) this.inboundCall.stop(this.stoppedBy);
    return this.inboundCall;
  }

  /** Nobody hears its answer: its caller had gone, or its deadline had passed, before grpc-js began it. True: it has been ended. */
  endIfOver(): boolean {
    if (!this.wire.cancelled && !isStreamOver(this.wire)) return false;
    this.done = true;
    this.end(this.deadlinePassed ? StatusCode.DEADLINE_EXCEEDED : StatusCode.CANCELLED);
    this.tellDone();
    return true;
  }

  get isStopped(): boolean {
    return this.stoppedBy !== undefined;
  }

  /** It will come to its end by itself: it was stopped, or its handler has given everything. */
  get isEnding(): boolean {
    return this.isStopped;
  }

  /** Ends it OK behind what its handler has given. */
  endOk(): void {
    this.stop({ code: StatusCode.OK, details: 'OK' });
  }

  /** Does `work`, and all that follows from it, on behalf of this call, where outgoing calls may be bound to it. */
  inContext(work: () => void): void {
    if (this.host.captures) runInbound(this.inbound, work);
    else work();
  }

  /** Known for as long as the call is, also where its connection has gone. */
  get peer(): string {
    return this.peerAtBegin ?? this.wire.getPeer();
  }

  /** Its caller does not wait any more: gone, or past its deadline, even where grpc-js has not said so yet. */
  get callerGone(): boolean {
    const { wire } = this;
    return wire.cancelled || isStreamClosed(wire) || this.deadlinePassed;
  }

  private get deadlinePassed(): boolean {
    return this.host.clock.epoch() >= Number(this.wire.getDeadline());
  }

  /** Its caller gets messages as they come. */
  get streamsResponses(): boolean {
    const { kind } = this.method;
    return kind === 'server-stream' || kind === 'bidi';
  }

  /** Ends it from outside, before its handler would: its work is let go of, and `status` sent behind what was written. */
  stop(status: StatusLike): void {
    if (this.over || this.stoppedBy !== undefined) return;
    this.stoppedBy = new Error(status.details);
    // First: what its handler makes of being let go of is no answer any more.
    this.send(status);
    this.letGoQuietly();
    this.inboundCall?.stop(this.stoppedBy);
  }

  /** Ends it in place of its handler, which does not run. */
  refuse(status: StatusLike): void {
    this.release();
    this.send(status);
  }

  /** Ends it where the client may not even read the status. */
  cut(status: StatusLike): void {
    if (this.over) return;
    if (isStreamClosed(this.wire)) {
      // grpc-js has nothing more to say of it.
      this.onWireEnd();
      return;
    }
    // Behind messages that wait, a status would wait too.
    const stuck = this.streamsResponses && this.wire.writableLength > 0;
    this.stop(status);
    // True: `stop` may have ended it.
    if (stuck && !(this.over as boolean)) resetStream(this.wire, status);
  }

  /** Lets go of what the handler gave: unsubscribes, ends iterators. */
  protected abstract letGo(): void;

  /** A teardown that fails has nobody to tell but the log; and must not keep a call, or a drain, from its end. */
  protected letGoQuietly(): void {
    try {
      this.letGo();
    } catch (error) {
      const { events } = this.host;
      if (events.wanted) events.emit({ type: 'handler-failed', path: this.method.path, error });
      this.release();
    }
  }

  /** Sends a status that ends the call. */
  protected abstract send(status: StatusLike): void;

  /** Nothing more goes over the wire: its caller has gone, or its deadline has passed. */
  protected onWireEnd(): void {
    this.end(this.deadlinePassed ? StatusCode.DEADLINE_EXCEEDED : StatusCode.CANCELLED);
    this.letGoQuietly();
  }

  /** It is over for its caller. */
  protected end(code: number): void {
    if (this.over) return;
    const { host } = this;
    this.over = true;
    if (!this.done) this.overAt = host.clock.now();
    if (code !== StatusCode.CANCELLED && code !== StatusCode.DEADLINE_EXCEEDED) this.inboundCall?.end();
    host.callOver(this);
  }

  /** Tells of the end on the wire: a message that is too large, or no message, makes another status of an answer. */
  private tellEnd(): void {
    const { method, sent, received, host, wire } = this;
    const gone = this.deadlinePassed ? StatusCode.DEADLINE_EXCEEDED : StatusCode.CANCELLED;
    const code = sentStatusOf(wire)?.code ?? gone;
    const durationMs = host.clock.now() - this.startedAt;
    const end = { code, peer: this.peer, durationMs, sent, received };
    host.events.emit({ type: 'call-end', path: method.path, kind: method.kind, end });
  }

  /** The handler has ended. */
  protected release(): void {
    if (this.done) return;
    this.done = true;
    this.tellDone();
  }

  protected tellDone(): void {
    if (this.over) this.host.handlerDone(this);
    this.onDone?.();
  }

  /** A request message was read. */
  noteReceived(): void {
    this.received += 1;
    this.lastActivityAt = this.host.clock.now();
  }
}

/** The call that `wire` is; undefined where another strategy serves it. */
export function servedCallOf(wire: object): ServedCall | undefined {
  const found: unknown = Reflect.get(wire, SERVED);
  return found instanceof ServedCall ? found : undefined;
}
