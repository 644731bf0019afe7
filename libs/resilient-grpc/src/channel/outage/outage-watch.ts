import type { Connectivity, OutageSnapshot } from '../../call/connectivity.js';
import type { Waiter } from '../../call/call-transport.js';
import type { EventHub } from '../../call/event-hub.js';
import {
  CONFIRM_MS,
  insideGrace,
  nextOutage,
  NO_OUTAGE,
  type Outage,
  type OutageEvent,
  type OutageState,
} from '../../policy/outage/next-outage.js';
import type { LoadBaseline } from '../../policy/queue-release/load-baseline.js';
import { moment, type Clock, type Timer } from '../../time/clock.js';
import { SLOW_CONNECT_MS } from '../connection/connect-attempt.js';
import { PeerTimer } from '../../time/peer-timer.js';
import { isCall } from './waiting-calls.js';

export interface OutageDependencies {
  readonly load: LoadBaseline;
  readonly clock: Clock;
  readonly events: EventHub;
  /** `calls`: number of waiting calls; `size` also counts `waitForReady()`. */
  readonly waiting: { readonly calls: number; readonly size: number };
  /** Describes the running attempt to connect; `undefined` between two attempts, or if its progress is unknown. */
  readonly connecting: () => string | undefined;
  readonly connectTimeoutMs: number;
}

export type OutageChange =
  | 'began'
  /** Only calls with `waitForReady: true` may still wait. */
  | 'grace-ended'
  /** Another attempt to connect failed, a short-lived connection ended, the channel became READY, or the outage ended. */
  | 'other';

/** Time in milliseconds for which endpoints may still be reconnecting after an outage. */
const RECOVERY_MS = 60_000;
const MAX_PAST_OUTAGES = 20;

/** Applies the outage rules to one channel: runs the timers, counts the affected calls, and emits the events. */
export class OutageWatch {
  private state: OutageState = NO_OUTAGE;
  private graceTimer: Timer | undefined;
  private confirmTimer: Timer | undefined;
  /** Timer for the report of a slow attempt to connect. Stays set after the report, until READY. */
  private slowConnect: PeerTimer | undefined;
  private waitedCalls = 0;
  private abandonedCalls = 0;
  private failedCalls = 0;
  /** True if a call has failed since the last attempt to connect. */
  hasFailedCalls = false;
  /** True if a call has failed after the grace period of the current outage. */
  private isGraceOver = false;
  private cause = '';
  /** Monotonic time of the end of the last outage, in milliseconds. */
  private endedAt = -Infinity;
  /** Offset from monotonic to epoch time at the start of the outage. Stored, because each computation yields a slightly different value. */
  private epochOffsetMs = 0;
  total = 0;
  readonly past: OutageSnapshot[] = [];

  private readonly clock: Clock;
  private readonly events: EventHub;

  constructor(
    private readonly graceMs: number,
    private readonly dependencies: OutageDependencies,
    private readonly changed: (change: OutageChange) => void,
  ) {
    this.clock = dependencies.clock;
    this.events = dependencies.events;
  }

  get current(): Outage | undefined {
    return this.state.current;
  }

  /** True during the outage grace period, in which calls wait instead of failing. */
  get insideGrace(): boolean {
    return insideGrace(this.state, this.clock.now());
  }

  /** True if there is no outage, and none has ended in the last minute. */
  get isCalm(): boolean {
    return this.current === undefined && this.clock.now() - this.endedAt >= RECOVERY_MS;
  }

  describe(nextAttemptAt: number | undefined): Pick<Connectivity, 'outage'> {
    const { current } = this.state;
    if (current === undefined) return {};
    const { epochOffsetMs } = this;
    return {
      outage: {
        since: moment(current.startedAt + epochOffsetMs),
        graceEndsAt: moment(current.graceEndsAt + epochOffsetMs),
        connectAttempts: current.connectAttempts,
        flapping: current.flapping,
        ...(nextAttemptAt === undefined ? {} : { nextAttemptAt: moment(nextAttemptAt) }),
      },
    };
  }

  /** Reports a failed attempt to connect. `cause` is the cause of an outage that begins with this attempt. */
  attemptFailed(cause: string | undefined): void {
    this.hasFailedCalls = false;
    this.apply({ type: 'attempt-failed', at: this.clock.now() }, cause);
  }

  connectionEnded(livedMs: number, answered: boolean, cause: string | undefined): void {
    this.apply({ type: 'connection-ended', at: this.clock.now(), livedMs, answered }, cause);
  }

  answered(): void {
    if (this.state.current !== undefined) this.apply({ type: 'answered', at: this.clock.now() });
  }

  becameReady(): void {
    this.stopSlowConnect();
    if (this.state.current === undefined) return;
    this.apply({ type: 'ready', at: this.clock.now() });
    this.confirmAfter(CONFIRM_MS);
  }

  becameUnready(): void {
    this.confirmTimer?.clear();
    this.confirmTimer = undefined;
  }

  callQueued(waiter: Pick<Waiter, 'path'>, isReady: boolean): void {
    if (this.state.current !== undefined) this.waitedCalls += isCall(waiter) ? 1 : 0;
    else if (!isReady) this.slowConnect ??= new PeerTimer(this.clock, SLOW_CONNECT_MS, this.connectIsSlow);
  }

  private readonly connectIsSlow = (): void => {
    const { waiting, connecting, connectTimeoutMs } = this.dependencies;
    if (this.state.current !== undefined || waiting.size === 0) this.stopSlowConnect();
    else if (this.events.wanted) {
      const cause =
        connecting() ?? `no attempt to connect has succeeded or failed within ${String(SLOW_CONNECT_MS / 1_000)} s`;
      const { graceMs } = this;
      this.events.emit({ type: 'slow-connect', cause, waiting: waiting.calls, connectTimeoutMs, graceMs });
    }
  };

  callAbandoned(): void {
    if (this.state.current !== undefined) this.abandonedCalls += 1;
  }

  callsFailed(count: number): void {
    const { current } = this.state;
    if (current === undefined || count === 0) return;
    this.failedCalls += count;
    this.hasFailedCalls = true;
    if (this.isGraceOver || this.insideGrace) return;
    this.isGraceOver = true;
    const durationMs = this.clock.now() - current.startedAt;
    if (this.events.wanted) this.events.emit({ type: 'outage-grace-over', durationMs });
  }

  close(): void {
    this.becameUnready();
    this.clearGrace();
    this.stopSlowConnect();
  }

  private apply(event: OutageEvent, cause?: string): void {
    const before = this.state.current;
    this.state = nextOutage(this.state, event, this.graceMs);
    const after = this.state.current;
    if (before === after) return;
    if (before === undefined && after !== undefined) {
      this.began(after, cause);
      this.changed('began');
      return;
    }
    if (before !== undefined && after === undefined) this.ended(before, event.at);
    this.changed('other');
  }

  private began(outage: Outage, cause = 'the connection failed'): void {
    const { load, waiting } = this.dependencies;
    load.freeze(outage.startedAt);
    this.waitedCalls = waiting.calls;
    this.abandonedCalls = 0;
    this.failedCalls = 0;
    this.isGraceOver = false;
    this.total += 1;
    this.epochOffsetMs = this.clock.epoch() - this.clock.now();
    this.cause = cause;
    this.clearGrace();
    this.endGraceAt(outage.graceEndsAt);
    if (this.events.wanted) {
      const graceMs = Math.max(0, outage.graceEndsAt - outage.startedAt);
      this.events.emit({ type: 'outage-start', cause, graceMs, flapping: outage.flapping });
    }
  }

  // Node's timers may fire slightly early, because Node caches the time and rounds to milliseconds. The timers below therefore check the
  // clock and start again if needed. Otherwise, calls would wait beyond the grace period, and an outage would last until the next call.

  private endGraceAt(graceEndsAt: number): void {
    const timer = this.clock.setTimer(() => {
      if (this.insideGrace) {
        this.endGraceAt(graceEndsAt);
        return;
      }
      // Deferred, because timers run before sockets are read. After this process was suspended, a connection may become READY in this turn.
      this.clock.defer(() => {
        if (this.graceTimer !== timer) return;
        this.graceTimer = undefined;
        this.changed('grace-ended');
      });
    }, graceEndsAt - this.clock.now());
    this.graceTimer = timer;
  }

  private confirmAfter(ms: number): void {
    this.confirmTimer ??= this.clock.setTimer(() => {
      this.confirmTimer = undefined;
      const at = this.clock.now();
      this.apply({ type: 'ready-lasted', at });
      const since = this.state.current?.readySince;
      if (since !== undefined) this.confirmAfter(CONFIRM_MS - (at - since));
    }, ms);
  }

  private ended(outage: Outage, at: number): void {
    this.dependencies.load.thaw(at);
    this.endedAt = at;
    this.close();
    const { cause, waitedCalls, abandonedCalls, failedCalls } = this;
    const durationMs = at - outage.startedAt;
    const impact = { connectAttempts: outage.connectAttempts, waitedCalls, abandonedCalls, failedCalls };
    const since = moment(outage.startedAt + this.epochOffsetMs).toISOString();
    this.past.push({ since, durationMs, cause, ...impact });
    if (this.past.length > MAX_PAST_OUTAGES) this.past.shift();
    if (this.events.wanted) this.events.emit({ type: 'outage-end', durationMs, ...impact });
  }

  private stopSlowConnect(): void {
    this.slowConnect?.clear();
    this.slowConnect = undefined;
  }

  private clearGrace(): void {
    this.graceTimer?.clear();
    this.graceTimer = undefined;
  }
}
