import { AsyncResource } from 'node:async_hooks';
import { Metadata } from '@grpc/grpc-js';
import type { EventHub } from '../../call/event-hub.js';
import type { GrpcServerEvent } from '../../call/server-event.js';
import {
  OVERLOAD_KEY,
  OVERLOAD_VALUE,
  OverloadQueue,
  type OverloadQueueLimits,
  type ServiceTime,
  type WaitingCall,
} from '../../policy/overload/overload-queue.js';
import { PUSHBACK_KEY } from '../../policy/pushback/parse-pushback.js';
import { StatusCode } from '../../status/status-code.js';
import type { Clock } from '../../time/clock.js';
import type { ServedCall } from '../calls/served-call.js';
import type { StatusLike } from '../calls/wire-call.js';
import type { OverloadState } from './overload-state.js';

/**
 * A call whose handler has not started. The handler starts in the async context in which the call arrived, because tracing and request
 * scopes use this context.
 */
export class HeldCall extends AsyncResource implements WaitingCall<HeldCall> {
  order = 0;
  isRemoved = false;
  previous: HeldCall | undefined;
  next: HeldCall | undefined;
  weight = 0;
  variance = 0;
  readonly connection: unknown;

  constructor(
    readonly call: ServedCall,
    readonly serviceTime: ServiceTime,
    readonly arrivedAt: number,
    private readonly start: () => void,
  ) {
    super('GrpcHeldCall');
    this.connection = call.connection;
  }

  get deadline(): number {
    return this.call.deadline;
  }

  /** Starts the handler, or passes the call to the next limit or the gate. */
  serve(): void {
    this.runInAsyncScope(this.start);
  }
}

/** Maximum time from the arrival of a call to its deadline, in milliseconds, for the deadline to count as near. */
const NEAR_DEADLINE_MS = 30_000;

/** The calls that wait in a queue of the server. Each of them starts, is refused, or ends while it waits. */
export class HeldCalls {
  readonly queue: OverloadQueue<HeldCall>;
  /** Number of waiting calls that had no near deadline when they arrived. */
  patientSize = 0;
  /** Number of waiting calls of each connection. */
  readonly sizes = new Map<unknown, number>();

  /** @param refusal status of a call that cannot be served in time */
  constructor(
    limits: OverloadQueueLimits,
    private readonly refusal: Refusal,
    private readonly clock: Clock,
    private readonly events: EventHub<GrpcServerEvent>,
    private readonly overload: OverloadState,
  ) {
    this.queue = new OverloadQueue(limits);
  }

  /** Adds a call, or returns false if it must be refused. */
  add(held: HeldCall, now: number): boolean {
    if (!this.queue.add(held, now)) return false;
    if (isPatient(held)) this.patientSize += 1;
    this.count(held, 1);
    held.call.onEndWhileHeld = () => {
      this.noteLeft(held);
      this.queue.remove(held, this.clock.now());
      this.overload.note(this.queue);
    };
    return true;
  }

  /** Refuses the calls that can no longer be served in time. */
  refuseHopeless(now: number): void {
    for (const held of this.queue.takeHopeless(now)) {
      this.noteLeft(held);
      this.refuse(held.call);
    }
  }

  take(): HeldCall | undefined {
    const held = this.queue.take();
    if (held !== undefined) this.noteLeft(held);
    return held;
  }

  /** Returns true if a call that `take` returned is to be served now. Otherwise, it had ended, or ends here. */
  admits(held: HeldCall, now: number): boolean {
    const { events, queue } = this;
    const { call, arrivedAt } = held;
    // A reset first looks like the end of the requests, so grpc-js might not have reported the reset yet.
    if (call.endIfOver()) {
      queue.drop(held, now);
      return false;
    }
    const turn = queue.turnOf(held, now);
    if (turn === 'refuse') this.refuse(call);
    else if (turn === 'expired') {
      call.refuse(EXPIRED);
      this.overload.note(queue);
    } else if (events.wanted) events.emit({ type: 'call-dequeued', path: call.method.path, waitMs: now - arrivedAt });
    return turn === 'run';
  }

  refuse(call: ServedCall, status = this.refusal): void {
    this.overload.noteRefused(call.method, this.queue);
    call.refuse(status);
  }

  private noteLeft(held: HeldCall): void {
    held.call.onEndWhileHeld = undefined;
    if (isPatient(held)) this.patientSize -= 1;
    this.count(held, -1);
  }

  private count({ connection }: HeldCall, change: 1 | -1): void {
    const size = (this.sizes.get(connection) ?? 0) + change;
    if (size === 0) this.sizes.delete(connection);
    else this.sizes.set(connection, size);
  }
}

const isPatient = ({ deadline, arrivedAt }: HeldCall): boolean => deadline - arrivedAt > NEAR_DEADLINE_MS;

export type Refusal = StatusLike & { readonly code: StatusCode; readonly metadata: Metadata };

/** Creates the status of calls that are refused because of an overload. Such calls share one status, because there may be thousands. */
export function overloadRefusal(details: string): Refusal {
  const metadata = new Metadata();
  // Without pushback, clients would retry refused calls, and the retries would keep the server overloaded.
  metadata.set(PUSHBACK_KEY, '-1');
  metadata.set(OVERLOAD_KEY, OVERLOAD_VALUE);
  return { code: StatusCode.RESOURCE_EXHAUSTED, details, metadata };
}

/** Status of a call whose deadline passed before its handler started. */
const EXPIRED: StatusLike = {
  code: StatusCode.DEADLINE_EXCEEDED,
  details: "Deadline exceeded in the server's queue",
};
