import type { EventHub } from '../../call/event-hub.js';
import type { GrpcServerEvent } from '../../call/server-event.js';
import { BusyPeriod } from '../../policy/overload/busy-period.js';
import { OverloadQueue } from '../../policy/overload/overload-queue.js';
import type { Clock } from '../../time/clock.js';
import type { ServedCall, ServedMethod } from '../calls/served-call.js';
import { HeldCall } from './held-call.js';
import type { OverloadState } from './overload-state.js';
import { EXPIRED, overloadRefusal } from './refusal.js';

/** Handlers run for this long, then the event loop reads sockets, resets, and timers. In milliseconds. */
const SLICE_MS = 10;
/**
 * With more waiting calls without a deadline, handlers run without reading further requests, so that TCP stops the clients. Such calls
 * are not refused, and would otherwise fill the memory.
 */
const MAX_UNLIMITED = 5_000;

/** Maximum number of waiting calls that are refused before each slice, so that the refusals do not delay the handlers. */
const MAX_HOPELESS = 100;

const REFUSED = overloadRefusal('The server is overloaded and refused the call before its handler ran');
/**
 * Runs the handlers of unary calls. While they leave the process time for other work, a handler runs when its call arrives. Otherwise, calls
 * wait in a queue that refuses what cannot be served in time, and the event loop turns after each slice of work. Without the queue, calls
 * would wait in the buffers of sockets, where neither their deadlines nor their cancellations can be seen.
 */
export class OverloadGate {
  private readonly busy = new BusyPeriod();
  // The weight of a call is its CPU time.
  private readonly queue = new OverloadQueue<HeldCall>({ maxQueued: Infinity, maxSpeed: 1 });
  /** The first call of a batch; `undefined` if the batch has several. */
  private alone: ServedMethod | undefined;
  private running: HeldCall | undefined;
  private startedAt = 0;
  private sliceEndsAt = 0;
  private isWorking = false;

  constructor(
    private readonly clock: Clock,
    private readonly events: EventHub<GrpcServerEvent>,
    private readonly overload: OverloadState,
  ) {
    overload.add(this.queue);
  }

  /** Runs the handler of `call`: now, or after calls that wait, or never if the call is refused or ends before that. */
  serve(call: ServedCall, request: unknown): void {
    const now = this.clock.now();
    if (this.isWorking || this.busy.isLate(now)) {
      this.hold(call, request, now);
      return;
    }
    if (!this.busy.isInBatch) {
      this.busy.begin(now);
      // The work of Nest runs in microtasks, so a tick that is requested in a microtask runs after it.
      queueMicrotask(this.endBatchLater);
      this.alone = call.method;
    } else {
      this.alone = undefined;
    }
    call.serve(request);
  }

  private hold(call: ServedCall, request: unknown, now: number): void {
    const deadline = now + Number(call.wire.getDeadline()) - this.clock.epoch();
    const held = new HeldCall(call, call.method.serviceTime, now, deadline, () => {
      call.serve(request);
    });
    if (!this.queue.add(held, now)) {
      this.overload.refuse(call, REFUSED, this.queue);
      return;
    }
    call.held = () => {
      this.queue.remove(held, this.clock.now());
      this.overload.note(this.queue);
    };
    if (this.isWorking) return;
    this.isWorking = true;
    this.clock.defer(this.work);
  }

  private readonly endBatchLater = (): void => {
    process.nextTick(this.endBatch);
  };

  private readonly endBatch = (): void => {
    const ms = this.busy.end(this.clock.now());
    this.alone?.serviceTime.note(ms);
  };

  private readonly work = (): void => {
    const now = this.clock.now();
    this.sliceEndsAt = now + SLICE_MS;
    this.busy.begin(now);
    for (const { call } of this.queue.takeHopeless(now, MAX_HOPELESS)) {
      call.held = undefined;
      this.overload.refuse(call, REFUSED, this.queue);
    }
    this.step();
  };

  private readonly stepLater = (): void => {
    process.nextTick(this.step);
  };

  /** Runs one handler. The next step follows when its synchronous work is done, which includes its microtasks. */
  private readonly step = (): void => {
    const now = this.clock.now();
    this.noteServed(now);
    if (now >= this.sliceEndsAt && this.queue.unlimitedSize <= MAX_UNLIMITED) {
      this.busy.end(now);
      this.clock.defer(this.work);
      return;
    }
    const held = this.queue.take();
    if (held === undefined) {
      this.busy.end(now);
      this.isWorking = false;
      return;
    }
    // Requested first, so that an error of a listener does not stop the queue. The tick runs after the microtasks of the handler anyway.
    queueMicrotask(this.stepLater);
    this.start(held, now);
  };

  private start(held: HeldCall, now: number): void {
    const { call } = held;
    call.held = undefined;
    // A reset first looks like the end of the requests, so grpc-js may not have reported it.
    if (call.endIfOver()) {
      this.queue.drop(held, now);
      return;
    }
    const turn = this.queue.turnOf(held, now);
    if (turn === 'run') {
      this.running = held;
      this.startedAt = now;
      if (this.events.wanted) {
        this.events.emit({ type: 'call-dequeued', path: call.method.path, waitMs: now - held.arrivedAt });
      }
      held.serve();
    } else if (turn === 'refuse') {
      this.overload.refuse(call, REFUSED, this.queue);
    } else {
      call.refuse(EXPIRED);
      this.overload.note(this.queue);
    }
  }

  private noteServed(now: number): void {
    const { running } = this;
    if (running === undefined) return;
    this.running = undefined;
    const ms = now - this.startedAt;
    running.call.method.serviceTime.note(ms);
    this.queue.served(running, ms, now);
  }
}
