import type { EventHub } from '../../call/event-hub.js';
import { StreamBatches } from '../../call/stream-batches.js';
import { StatusCode } from '../../status/status-code.js';
import { moment, type Clock, type Timer } from '../../time/clock.js';
import { RunningTime } from '../../time/running-time.js';
import { setPollTimer } from '../../time/peer-timer.js';
import type { GrpcServerEvent } from '../../call/server-event.js';
import type { CallConnection } from '../grpc/innermost-call.js';
import { CallFifo } from '../../policy/overload/overload-queue.js';
import type { CallHost, ServedCall } from './served-call.js';
import type { StatusLike } from './wire-call.js';

/**
 * An open inbound stream. The handler of a `@GrpcStreamCall` reads and writes the messages itself, so they are not observed: `sent`
 * and `received` are 0, and `lastActivityAt` equals `startedAt`.
 */
export interface ActiveServerStream {
  /** Path of the method, such as '/orders.v1.Orders/Watch'. */
  readonly path: string;
  readonly kind: 'client-stream' | 'server-stream' | 'bidi';
  readonly peer: string;
  readonly startedAt: Date;
  /** Time of the latest message in either direction; the start if there is none. */
  readonly lastActivityAt: Date;
  /** Number of messages accepted by the client or its flow-control window. */
  readonly sent: number;
  /** Number of messages that the handler has received. */
  readonly received: number;
}

const DRAINING: StatusLike = { code: StatusCode.UNAVAILABLE, details: 'The server is shutting down' };
const DRAINING_CONNECTION: StatusLike = {
  code: StatusCode.UNAVAILABLE,
  details: 'The connection has reached its maximum age',
};

/** Time in milliseconds from the end of a call until its handler counts as leaked if it is still running. */
const LEAK_WARNING_MS = 60_000;
/** Bounds of the sweep interval, in milliseconds. Within these bounds, the interval is a tenth of the shortest idle timeout. */
const MAX_SWEEP_INTERVAL_MS = 1_000;
const MIN_SWEEP_INTERVAL_MS = 50;
/**
 * Minimum time in milliseconds from the deadline of a stream until a sweep ends the stream. grpc-js enforces deadlines, so if a stream is
 * still open then, its client is not reading.
 */
const DEADLINE_GRACE_MS = 500;

/** All calls of a server: open calls, and ended calls whose handler is still running. */
export class ServerCalls implements CallHost {
  /** True if handlers run in the context of their call. */
  captures = false;
  ended = 0;
  endedByDrain = 0;
  completedByDrain = 0;
  readonly runningTime: RunningTime;
  /**
   * The open calls. It is no `Set`: when a Set whose values come and go is rehashed, its old table refers to the new one, so that after a full
   * garbage collection every later call survives all minor collections.
   */
  private readonly open = new CallFifo<ServedCall>();
  private readonly streams = new Set<ServedCall>();
  private readonly lingering = new Set<ServedCall>();
  /** Streams that a drain is ending, with the counter to increment when they have ended. */
  private readonly notified = new Map<ServedCall, 'endedByDrain' | 'completedByDrain'>();
  private readonly waiting: (() => void)[] = [];
  private sweepTimer: Timer | undefined;
  /** Time for which this process was suspended or blocked since the last message of a stream. */
  private readonly suspended = new WeakMap<ServedCall, { readonly since: number; readonly ms: number }>();
  private notifiesStreams = false;
  private readonly batches: StreamBatches;

  constructor(
    readonly clock: Clock,
    readonly events: EventHub<GrpcServerEvent>,
  ) {
    this.batches = new StreamBatches(clock);
    this.runningTime = new RunningTime(clock);
  }

  get size(): number {
    return this.open.size;
  }

  /** Number of handlers that are still running after the end of their call. */
  get lingeringHandlers(): number {
    return this.lingering.size;
  }

  /**
   * Returns the status with which a drain rejects `call` if the call is new; `undefined` before `notifyStreams`, or if the drain lets the
   * call finish.
   */
  drainStatusOf(call: ServedCall): StatusLike | undefined {
    return this.notifiesStreams && call.streamsResponses && call.method.options.onDrain !== 'finish'
      ? DRAINING
      : undefined;
  }

  begin(call: ServedCall): void {
    this.open.push(call);
    call.innermost?.handle();
    const { maxCallMs } = call.method.options;
    if (maxCallMs !== undefined) {
      const details = `The call took longer than ${String(maxCallMs)} ms (maxCallMs of the server)`;
      call.limitTimer = this.clock.setTimer(() => {
        call.cut({ code: StatusCode.DEADLINE_EXCEEDED, details });
      }, maxCallMs);
    }
    if (call.method.kind === 'unary') return;
    this.streams.add(call);
    this.runningTime.start();
    if (this.drainStatusOf(call) !== undefined) this.notified.set(call, 'endedByDrain');
    if (call.method.options.maxStreamIdleMs !== undefined || call.deadline !== Infinity) this.sweepLater();
  }

  callOver(call: ServedCall): void {
    if (!call.isRemoved) this.open.remove(call);
    call.limitTimer?.clear();
    if (this.streams.delete(call) && this.streams.size === 0) this.runningTime.stop();
    this.ended += 1;
    if (this.notified.size > 0) this.countNotified(call);
    if (call.done) call.innermost?.handled();
    else {
      this.lingering.add(call);
      this.sweepLater();
    }
    if (this.open.size === 0) for (const resolve of this.waiting.splice(0)) resolve();
  }

  handlerDone(call: ServedCall): void {
    this.lingering.delete(call);
    call.innermost?.handled();
  }

  activeStreams(): readonly ActiveServerStream[] {
    const offset = this.clock.epoch() - this.clock.now();
    return [...this.streams].map((call) => ({
      path: call.method.path,
      // The cast is safe: `streams` contains no unary calls.
      kind: call.method.kind as ActiveServerStream['kind'],
      peer: call.peer,
      startedAt: moment(call.startedAt + offset),
      lastActivityAt: moment(call.lastActivityAt + offset),
      sent: call.sent,
      received: call.received,
    }));
  }

  /** Ends, in batches, the response streams whose `onDrain` is not 'finish', and rejects new ones. */
  notifyStreams(): Promise<void> {
    this.notifiesStreams = true;
    const notified = [...this.streams].filter((call) => this.drainStatusOf(call) !== undefined);
    return this.batches.end(notified, (call) => {
      this.notify(call);
    });
  }

  /** True if a handler still produces a response stream with `onDrain: 'finish'`. */
  get hasFinishingStream(): boolean {
    return [...this.streams].some(
      (call) => call.streamsResponses && call.method.options.onDrain === 'finish' && !call.isEnding,
    );
  }

  openPaths(): ReadonlyMap<string, number> {
    const counts = new Map<string, number>();
    for (const { method } of this.open) counts.set(method.path, (counts.get(method.path) ?? 0) + 1);
    return counts;
  }

  /**
   * Ends all open calls and returns their number. Does not reset the streams of clients that are not reading. These clients lose their
   * connection next and report UNAVAILABLE; they would report a reset as CANCELLED.
   */
  endAll(): number {
    this.batches.stop();
    const remaining = [...this.open];
    for (const call of remaining) call.stop(DRAINING);
    return remaining.length;
  }

  /** Ends the calls of one connection, which closes next; see `endAll`. */
  endOf(connection: CallConnection): void {
    for (const call of [...this.open]) {
      if (call.innermost?.connection === connection) call.stop(DRAINING_CONNECTION);
    }
  }

  whenOver(): Promise<void> {
    if (this.open.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.waiting.push(resolve));
  }

  close(): void {
    this.runningTime.stop();
    this.sweepTimer?.clear();
    this.sweepTimer = undefined;
  }

  private countNotified(call: ServedCall): void {
    const count = this.notified.get(call);
    if (count === undefined) return;
    this.notified.delete(call);
    this[count] += 1;
  }

  private notify(call: ServedCall): void {
    // If the handler has finished, the stream is only waiting for its client, so the drain lets it finish.
    if (call.over || call.isEnding) return;
    const completes = call.method.options.onDrain === 'complete';
    this.notified.set(call, completes ? 'completedByDrain' : 'endedByDrain');
    if (completes) call.endOk();
    else call.stop(DRAINING);
  }

  private sweepLater(): void {
    if (this.sweepTimer !== undefined) return;
    this.sweepTimer = setPollTimer(this.clock, this.sweepMs(), (stoppedMs) => {
      if (stoppedMs > 0) this.excuse(stoppedMs);
      // Timers run before sockets in a turn of the event loop, so a message that seems missing might still be read in this turn.
      this.clock.defer(() => {
        this.sweepTimer = undefined;
        this.sweep();
      });
    });
  }

  /** Excludes `ms` milliseconds from idle and leak times, because this process was suspended or blocked for that time. */
  private excuse(ms: number): void {
    for (const call of this.streams) {
      if (call.method.options.maxStreamIdleMs === undefined) continue;
      this.suspended.set(call, { since: call.lastActivityAt, ms: this.excludedMs(call) + ms });
    }
    for (const call of this.lingering) call.overAt += ms;
  }

  private excludedMs(call: ServedCall): number {
    const suspension = this.suspended.get(call);
    return suspension?.since === call.lastActivityAt ? suspension.ms : 0;
  }

  private sweepMs(): number {
    let ms = MAX_SWEEP_INTERVAL_MS;
    for (const { method } of this.streams) ms = Math.min(ms, (method.options.maxStreamIdleMs ?? Infinity) / 10);
    return Math.max(ms, MIN_SWEEP_INTERVAL_MS);
  }

  private sweep(): void {
    const now = this.clock.now();
    let again = false;
    for (const call of [...this.streams]) {
      const { maxStreamIdleMs } = call.method.options;
      if (call.isStopped) continue;
      again ||= maxStreamIdleMs !== undefined || call.deadline !== Infinity;
      const idleMs = now - call.lastActivityAt;
      if (maxStreamIdleMs !== undefined && idleMs - this.excludedMs(call) >= maxStreamIdleMs) {
        this.endIdle(call, idleMs, maxStreamIdleMs);
      } else if (now - call.deadline >= DEADLINE_GRACE_MS) {
        call.cut({ code: StatusCode.DEADLINE_EXCEEDED, details: 'Deadline exceeded' });
      }
    }
    for (const call of this.lingering) {
      if (call.leakReported) continue;
      again = true;
      if (now - call.overAt >= LEAK_WARNING_MS) this.reportLeak(call, now - call.overAt);
    }
    if (again) this.sweepLater();
  }

  private endIdle(call: ServedCall, idleMs: number, limitMs: number): void {
    const { path } = call.method;
    if (this.events.wanted) this.events.emit({ type: 'stream-idle', path, peer: call.peer, idleMs });
    const details = `No message was sent or received for ${String(limitMs)} ms (maxStreamIdleMs)`;
    call.cut({ code: StatusCode.UNAVAILABLE, details });
  }

  private reportLeak(call: ServedCall, overMs: number): void {
    call.leakReported = true;
    // Otherwise, leaked handlers would count for a connection until it refused calls.
    call.innermost?.handled();
    if (this.events.wanted) this.events.emit({ type: 'handler-leak', path: call.method.path, overMs });
  }
}
