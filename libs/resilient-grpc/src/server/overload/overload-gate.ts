import type { EventHub } from '../../call/event-hub.js';
import type { GrpcServerEvent } from '../../call/server-event.js';
import { BusyPeriod } from '../../policy/overload/overload-queue.js';
import { StatusCode } from '../../status/status-code.js';
import type { Clock } from '../../time/clock.js';
import type { ServedCall, ServedMethod } from '../calls/served-call.js';
import { HeldCall, HeldCalls, overloadRefusal } from './held-calls.js';
import type { OverloadState } from './overload-state.js';
import type { StatusLike } from '../calls/wire-call.js';
import { parseGrpcTimeout } from '../../policy/deadline/deadline.js';
import { metadataOf } from '../../channel/subchannel/header-fields.js';
import type { HeaderBlock } from '../../transport/hpack/header-block.js';
import type { CallConnection } from '../grpc/innermost-call.js';
import type { ServerTelemetry } from '../../telemetry/grpc-telemetry.js';

/** Status of a call that an overloaded server refuses because its handler could not run in time. */
const REFUSED = overloadRefusal('The server is overloaded and refused the call before its handler ran');

/**
 * Maximum time in milliseconds for which handlers run before the event loop reads sockets, detects resets, and runs timers. A single
 * handler may run longer. The gate ignores the limit while more than `MAX_PATIENT` calls without a near deadline are waiting.
 */
export const SLICE_MS = 10;
/**
 * Threshold for the number of waiting calls without a near deadline; above it, handlers run without a pause. No request is then read, so
 * TCP flow control stops the clients from sending. Calls without a near deadline are refused only after a very long queue has formed, if at
 * all; without this threshold, they could exhaust memory.
 */
const MAX_PATIENT = 5_000;
/** Number of calls of each connection that may wait, however many connections there are. */
const MIN_SHARE = 4;

/**
 * Runs the handlers of unary calls. While the process has time for other work, each handler runs when its call arrives.
 * Otherwise, calls wait in a queue that refuses those it cannot serve in time, and the gate yields to the event loop after each slice.
 * Without the queue, calls would wait in the buffers of sockets, where their deadlines and cancellations cannot be detected.
 */
export class OverloadGate {
  private readonly busy: BusyPeriod;
  // The weight of a call is its CPU time.
  private readonly held: HeldCalls;
  /** Method of the only call of a batch; `undefined` if the batch has several calls. */
  private alone: ServedMethod | undefined;
  /** Number of calls of the batch whose synchronous work and microtasks may still run. */
  private beginning = 0;
  private running: HeldCall | undefined;
  private startedAt = 0;
  private sliceEndsAt = 0;
  private isWorking = false;

  /** @param idleMs returns the total time for which the event loop has waited for events, in milliseconds */
  constructor(
    private readonly clock: Clock,
    private readonly events: EventHub<GrpcServerEvent>,
    private readonly overload: OverloadState,
    idleMs: () => number,
  ) {
    this.busy = new BusyPeriod(idleMs);
    this.held = new HeldCalls({ maxQueued: Infinity, maxSpeed: 1 }, REFUSED, clock, events, overload);
    overload.add(this.held.queue);
  }

  /** True if calls may be refused. */
  get isRefusing(): boolean {
    return this.isWorking && this.held.queue.isOverloaded;
  }

  /**
   * Returns true if a call must be refused before its request is read, because the call could not be served in time. Counts the refused call
   * and emits its events. Without this check, an overloaded server would read and parse many requests only to refuse them.
   * @param timeoutMs timeout of the call in milliseconds; `Infinity` if it has none
   */
  refuseUnread(method: ServedMethod, timeoutMs: number, peer: string): boolean {
    const { clock, events } = this;
    const { queue } = this.held;
    const now = clock.now();
    if (!queue.refuses({ deadline: now + timeoutMs, serviceTime: method.serviceTime }, now)) return false;
    const { path, kind } = method;
    if (events.everyCallWanted) events.emit({ type: 'call-start', path, kind });
    this.overload.noteRefused(method, queue);
    if (events.everyCallWanted) {
      const end = { code: StatusCode.RESOURCE_EXHAUSTED, peer, durationMs: 0, sent: 0, received: 0 };
      events.emit({ type: 'call-end', path, kind, end });
    }
    return true;
  }

  /**
   * Returns how many requests of a connection may be read now. While calls wait that come from several connections, each may have only a few,
   * so that TCP flow control stops clients that send many, and no client waits long for the calls of others.
   */
  wantedOf(connection: CallConnection): number {
    const { sizes } = this.held;
    if (!this.isWorking || sizes.size < 2) return Infinity;
    return Math.max(0, Math.max(MIN_SHARE, Math.floor(MAX_PATIENT / sizes.size ** 2)) - (sizes.get(connection) ?? 0));
  }

  /** Runs the handler of `call` now or after the waiting calls; does not run it if the call is refused or ends first. */
  serve(call: ServedCall, request: unknown): void {
    const now = this.clock.now();
    if (this.isWorking || this.busy.isLate(now)) {
      this.hold(call, request, now);
      return;
    }
    this.alone = this.busy.isInBatch ? undefined : call.method;
    this.busy.begin(now);
    // Nest's work runs in microtasks, so a `nextTick` callback scheduled in a microtask runs after this work. For each call, because the one
    // that the first call has scheduled runs before the microtasks of a call that begins in the tick before it.
    this.beginning += 1;
    queueMicrotask(this.endBatchLater);
    call.serve(request);
  }

  private hold(call: ServedCall, request: unknown, now: number): void {
    const held = new HeldCall(call, call.method.serviceTime, now, () => {
      call.serve(request);
    });
    if (!this.held.add(held, now)) {
      this.held.refuse(call);
      return;
    }
    if (this.isWorking) return;
    this.isWorking = true;
    this.clock.defer(this.work);
  }

  private readonly endBatchLater = (): void => {
    process.nextTick(this.endBatch);
  };

  private readonly endBatch = (): void => {
    this.beginning -= 1;
    if (this.beginning > 0) return;
    const ms = this.busy.end(this.clock.now());
    this.alone?.serviceTime.note(ms);
  };

  private readonly work = (): void => {
    const now = this.clock.now();
    this.sliceEndsAt = now + SLICE_MS;
    this.busy.begin(now);
    this.held.refuseHopeless(now);
    this.step();
  };

  private readonly stepLater = (): void => {
    process.nextTick(this.step);
  };

  /**
   * Runs the next handler if the slice has time for it. The next step runs after the synchronous work and the microtasks of that handler.
   */
  private readonly step = (): void => {
    const now = this.clock.now();
    const lastMs = this.noteServed(now);
    // The next handler is assumed to take as long as the last one.
    if (now + lastMs > this.sliceEndsAt && this.held.patientSize <= MAX_PATIENT) {
      this.busy.end(now);
      this.clock.defer(this.work);
      return;
    }
    const held = this.held.take();
    if (held === undefined) {
      this.busy.end(now);
      this.isWorking = false;
      return;
    }
    // The next step is scheduled first, so that an error thrown by the handler does not stop the queue. The step still runs after the
    // microtasks of the handler.
    queueMicrotask(this.stepLater);
    if (!this.held.admits(held, now)) return;
    this.running = held;
    this.startedAt = now;
    held.serve();
  };

  /** Records the handler that has just run, and returns its duration in milliseconds; 0 if none has run. */
  private noteServed(now: number): number {
    const { running } = this;
    if (running === undefined) return 0;
    this.running = undefined;
    const ms = now - this.startedAt;
    running.call.method.serviceTime.note(ms);
    this.held.queue.served(running, ms, now);
    return ms;
  }
}

/**
 * Returns a function that refuses calls during an overload before their requests are read. It returns the status of a refused call. A refusal
 * then takes less CPU time than one by the handler, and the handlers can use the difference.
 */
export function unreadRefusal(
  gate: OverloadGate,
  methods: ReadonlyMap<string, ServedMethod>,
  telemetry: ServerTelemetry | undefined,
): (block: HeaderBlock, peer: string) => StatusLike | undefined {
  return (block, peer) => {
    const method = gate.isRefusing ? methods.get(block.path ?? '') : undefined;
    if (method === undefined) return undefined;
    const { grpcTimeout } = block;
    const timeoutMs = grpcTimeout === undefined ? Infinity : parseGrpcTimeout(grpcTimeout);
    if (timeoutMs === undefined || !gate.refuseUnread(method, timeoutMs, peer)) return undefined;
    const { path, kind } = method;
    telemetry?.begin({ path, kind, metadata: metadataOf(block) }).end({ ...REFUSED, receivedBytes: 0 });
    return REFUSED;
  };
}
