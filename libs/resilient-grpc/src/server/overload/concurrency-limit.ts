import type { EventHub } from '../../call/event-hub.js';
import type { GrpcServerEvent, ServerConcurrencyLimit } from '../../call/server-event.js';
import { AdaptiveLimit, type PermitOutcome } from '../../policy/concurrency/adaptive-limit.js';
import type { ServiceTime } from '../../policy/overload/overload-queue.js';
import { StatusCode } from '../../status/status-code.js';
import type { Clock } from '../../time/clock.js';
import type { ServedCall } from '../calls/served-call.js';
import { HeldCall, HeldCalls, overloadRefusal } from './held-calls.js';
import { SLICE_MS } from './overload-gate.js';
import type { OverloadState } from './overload-state.js';

const REFUSED = overloadRefusal(
  'The server has reached maxConcurrentCalls and refused the call before its handler ran',
);
const QUEUE_FULL = overloadRefusal(
  'The server has reached maxConcurrentCalls.queue and refused the call before its handler ran',
);

/** Options of a {@link ConcurrencyLimit}. */
export interface ConcurrencyLimitPolicy {
  /** Path of the method; `undefined` for the limit of the server. */
  readonly path: string | undefined;
  /** Maximum number of handlers that run at the same time; 'adaptive' for a limit that adapts to their durations. */
  readonly maxConcurrent: number | 'adaptive';
  /** Maximum number of waiting calls, counted separately for calls with a deadline and calls without one. */
  readonly maxQueued: number;
}

/** Passes a call to the next limit, to the gate, or to its handler. */
export type ServeNext = (call: ServedCall, request: unknown) => void;

/**
 * Limits how many handlers run at the same time for the unary calls of a method or a server. A call holds a permit until its handler has
 * ended, which can be after the end of the call. Calls without a permit wait in a bounded queue, which refuses calls that cannot be served
 * in time.
 */
export class ConcurrencyLimit {
  private readonly held: HeldCalls;
  private readonly adaptive: AdaptiveLimit | undefined;
  private runningCount = 0;
  private isDispatching = false;
  /**
   * Time until which this turn of the event loop may start queued calls, in monotonic milliseconds; `undefined` if this turn has started
   * none.
   */
  private sliceEndsAt: number | undefined;

  constructor(
    private readonly policy: ConcurrencyLimitPolicy,
    private readonly clock: Clock,
    events: EventHub<GrpcServerEvent>,
    overload: OverloadState,
  ) {
    const { maxConcurrent, maxQueued } = policy;
    if (maxConcurrent === 'adaptive') this.adaptive = new AdaptiveLimit();
    const current = (): number => this.maxConcurrent;
    // The weight of a call is the time for which it holds a permit.
    const limits = {
      maxQueued,
      get maxSpeed() {
        return current();
      },
    };
    this.held = new HeldCalls(limits, REFUSED, clock, events, overload);
    overload.add(this.held.queue, () => this.state());
  }

  private get maxConcurrent(): number {
    return this.adaptive?.current ?? Number(this.policy.maxConcurrent);
  }

  private state(): ServerConcurrencyLimit {
    const { path, maxQueued } = this.policy;
    const { runningCount: running, maxConcurrent } = this;
    return { path, maxConcurrent, running, queued: this.held.queue.size, maxQueued };
  }

  /** Passes `call` to `next` when a permit is free, or refuses the call. */
  serve(call: ServedCall, request: unknown, permitTime: ServiceTime, next: ServeNext): void {
    if (this.runningCount < this.maxConcurrent && this.held.queue.size === 0) {
      this.lend(call, undefined, permitTime);
      next(call, request);
      return;
    }
    const now = this.clock.now();
    const held = new HeldCall(call, permitTime, now, () => {
      this.lend(call, held, permitTime);
      next(call, request);
    });
    if (this.held.add(held, now)) return;
    const { size, unlimitedSize } = this.held.queue;
    const waiting = call.deadline === Infinity ? unlimitedSize : size - unlimitedSize;
    this.held.refuse(call, waiting < this.policy.maxQueued ? REFUSED : QUEUE_FULL);
  }

  /** Lends a permit to `call` until its handler has ended. */
  private lend(call: ServedCall, held: HeldCall | undefined, permitTime: ServiceTime): void {
    this.runningCount += 1;
    const startedAt = this.clock.now();
    call.onHandlerEnd(() => {
      const now = this.clock.now();
      const ms = now - startedAt;
      // True only if the handler ran: the gate may have refused the call, or the call may have ended before its handler started.
      if (call.received > 0) {
        permitTime.note(ms);
        const evidence = evidenceOf(call.endCode);
        if (evidence !== undefined) this.adaptive?.record(ms, this.runningCount, evidence);
      }
      this.runningCount -= 1;
      if (held === undefined) this.held.queue.noteWork(ms, now);
      else this.held.queue.served(held, ms, now);
      this.dispatch();
    });
  }

  private dispatch(): void {
    // A handler that ends synchronously calls this method again. That nested call returns, and the loop below continues.
    if (this.isDispatching) return;
    this.isDispatching = true;
    try {
      this.held.refuseHopeless(this.clock.now());
      while (this.runningCount < this.maxConcurrent && !this.isSliceOver()) {
        const held = this.held.take();
        if (held === undefined) return;
        if (this.held.admits(held, this.clock.now())) held.serve();
      }
    } finally {
      this.isDispatching = false;
    }
  }

  /**
   * True if waiting calls must not start before the next turn of the event loop. If handlers wait for timers and then use the CPU, the
   * timers of newly started calls expire while Node is still running other timers. Without slices, Node would run timers, and read no
   * sockets, until the queue is empty.
   */
  private isSliceOver(): boolean {
    if (this.held.queue.size === 0) return false;
    const now = this.clock.now();
    if (this.sliceEndsAt === undefined) {
      this.sliceEndsAt = now + SLICE_MS;
      this.clock.defer(this.endSlice);
    }
    return now >= this.sliceEndsAt;
  }

  private readonly endSlice = (): void => {
    this.sliceEndsAt = undefined;
    this.dispatch();
  };
}

/**
 * Returns the load evidence of a call whose handler has ended; `undefined` if the handler failed, because the duration of a
 * failed call reveals nothing about the load.
 * @param code status code of the call; `undefined` if the call has not ended
 */
function evidenceOf(code: number | undefined): PermitOutcome | undefined {
  switch (code) {
    case undefined:
    case StatusCode.OK:
      return 'succeeded';
    case StatusCode.DEADLINE_EXCEEDED:
      return 'timed-out';
    case StatusCode.CANCELLED:
      return 'cancelled';
    default:
      return undefined;
  }
}
