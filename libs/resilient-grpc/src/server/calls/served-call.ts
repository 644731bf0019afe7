import type { EventHub } from '../../call/event-hub.js';
import { runInbound } from '../../client/inbound-context.js';
import { GrpcInboundCall } from '../../nest/inbound/grpc-inbound-call.js';
import { StatusCode, isStatusCode } from '../../status/status-code.js';
import type { Clock } from '../../time/clock.js';
import { isStreamClosed, resetStream } from '../connections/http2-stream.js';
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
      if (!this.over) this.onWireEnd();
    });
    if (everyCallWanted) host.events.emit({ type: 'call-start', path: method.path, kind: method.kind });
  }

  /** As outgoing calls and handlers see it. */
  get inbound(): GrpcInboundCall {
    this.inboundCall ??= new GrpcInboundCall(this.wire, this.host.clock, {
      streaming: this.method.kind !== 'unary',
      startedAt: this.startedAt === 0 ? this.host.clock.now() : this.startedAt,
    });
    return this.inboundCall;
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
    if (this.over) return;
    this.inboundCall?.stop(new Error(status.details));
    this.letGo();
    this.send(status);
  }

  /** Ends it in place of its handler, which does not run. */
  refuse(status: StatusLike): void {
    this.release();
    this.send(status);
  }

  /** Ends it where the client may not even read the status. */
  cut(status: StatusLike): void {
    if (this.over) return;
    // Behind messages that wait, a status would wait too.
    const stuck = this.streamsResponses && this.wire.writableLength > 0;
    this.stop(status);
    // True: `stop` may have ended it.
    if (stuck && !(this.over as boolean)) resetStream(this.wire, status);
  }

  /** Runs the handler, in its context where outgoing calls may be bound to it. */
  protected run(first: unknown, second?: unknown, third?: unknown): unknown {
    const { handler } = this.method;
    return this.host.captures
      ? runInbound(this.inbound, () => handler(first, second, third))
      : handler(first, second, third);
  }

  /** Lets go of what the handler gave: unsubscribes, ends iterators. */
  protected abstract letGo(): void;

  /** Sends a status that ends the call. */
  protected abstract send(status: StatusLike): void;

  /** Nothing more goes over the wire: its caller has gone, or its deadline has passed. */
  protected onWireEnd(): void {
    this.end(this.deadlinePassed ? StatusCode.DEADLINE_EXCEEDED : StatusCode.CANCELLED);
    this.letGo();
  }

  /** It is over for its caller. */
  protected end(code: number): void {
    if (this.over) return;
    const { host } = this;
    this.over = true;
    if (!this.done || host.events.everyCallWanted) this.overAt = host.clock.now();
    if (code !== StatusCode.CANCELLED && code !== StatusCode.DEADLINE_EXCEEDED) this.inboundCall?.end();
    host.callOver(this);
    if (!host.events.everyCallWanted) return;
    const { method, sent, received } = this;
    host.events.emit({
      type: 'call-end',
      path: method.path,
      kind: method.kind,
      end: {
        code: isStatusCode(code) ? code : StatusCode.UNKNOWN,
        peer: this.peer,
        durationMs: this.overAt - this.startedAt,
        sent,
        received,
      },
    });
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
