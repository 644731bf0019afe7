import type { Waiter, WaitRefusal } from '../../call/call-transport.js';
import type { Clock, Timer } from '../../time/clock.js';
import type { ChannelSettings } from '../channel-settings.js';
import { seconds } from '../connection/connect-failure.js';
import type { EventHub } from '../../call/event-hub.js';
import type { Wire } from '../wire/wire.js';

/** True if `waiter` is a call; false if it is the client's `waitForReady()`, which is not counted as a call. */
export function isCall(waiter: Pick<Waiter, 'path'>): boolean {
  return waiter.path !== undefined;
}

/**
 * Queue of the calls that are waiting for the channel, oldest first, and of the client's `waitForReady()`. It keeps the process running
 * while it is not empty, as grpc-js's own queue does.
 */
export class WaitingCalls implements Iterable<Waiter> {
  private readonly present = new Set<Waiter>();
  bytes = 0;
  /** Number of waiting calls, without `waitForReady()`. */
  calls = 0;
  /** Waiting calls that need not be sent at a limited rate (`Waiter.rateLimited`), oldest first. */
  readonly unlimited = new Set<Waiter>();
  private keepAlive: Timer | undefined;

  constructor(private readonly clock: Clock) {}

  /** Number of waiters: waiting calls, and `waitForReady()` of the client. */
  get size(): number {
    return this.present.size;
  }

  [Symbol.iterator](): Iterator<Waiter> {
    return this.present.values();
  }

  /** Waiting time of the oldest call in milliseconds; 0 if no call is waiting. */
  oldestMs(now: number): number {
    for (const waiter of this.present) if (isCall(waiter)) return now - waiter.waitingSince;
    return 0;
  }

  push(waiter: Waiter): void {
    this.keepAlive ??= this.clock.setTimer(() => undefined, Infinity, true);
    this.present.add(waiter);
    this.bytes += waiter.bytes;
    if (isCall(waiter)) this.calls += 1;
    if (!waiter.rateLimited) this.unlimited.add(waiter);
  }

  /** Removes `waiter` from the queue. Returns true if it was queued. */
  remove(waiter: Waiter): boolean {
    if (!this.present.delete(waiter)) return false;
    this.bytes -= waiter.bytes;
    if (isCall(waiter)) this.calls -= 1;
    this.unlimited.delete(waiter);
    if (this.present.size === 0) {
      this.keepAlive?.clear();
      this.keepAlive = undefined;
    }
    return true;
  }

  takeWhere(isTaken: (waiter: Waiter) => boolean, limit: number): Waiter[] {
    const taken: Waiter[] = [];
    for (const waiter of this.present) {
      if (taken.length === limit) break;
      if (isTaken(waiter)) taken.push(waiter);
    }
    for (const waiter of taken) this.remove(waiter);
    return taken;
  }
}

/** Shortest time in milliseconds that does not round to 0.0 s. */
const MIN_SHOWN_MS = 50;

export interface OutageDetails {
  readonly target: string;
  /** Time since the channel lost its connection or began to connect. */
  readonly unreachableMs: number;
  readonly cause: string;
  readonly connectAttempts: number;
  /** True if this is at least the third outage within a minute. Its grace period may then be shorter. */
  readonly flapping: boolean;
  readonly nextTryInMs: number | undefined;
  readonly remedy: string | undefined;
}

/**
 * Returns the refusal of a call:
 * 'orders:50051 has been unreachable for 7.3 s (9 connection attempts, next in 2.1 s): 10.0.0.7:50051 refused the connection: …'
 */
export function outageRefusal(outage: OutageDetails): WaitRefusal {
  const { target, unreachableMs, cause, connectAttempts, flapping, nextTryInMs, remedy } = outage;
  // A shorter time would read 'next in 0.0 s'.
  const isDue = nextTryInMs === undefined || nextTryInMs < MIN_SHOWN_MS;
  const next = isDue ? 'connecting now' : `next in ${seconds(nextTryInMs)}`;
  const attempts = `${String(connectAttempts)} connection ${connectAttempts === 1 ? 'attempt' : 'attempts'}`;
  const flaps = flapping ? '; at least the third outage within a minute, so calls wait less' : '';
  const lasted = `${target} has been unreachable for ${seconds(unreachableMs)}`;
  return {
    reason: 'outage',
    details: `${lasted} (${attempts}, ${next}${flaps}): ${cause}`,
    remedy,
    retryAfterMs: nextTryInMs ?? 0,
  };
}

/** Returns a refusal if another call with a request of `bytes` bytes would exceed a limit; `undefined` otherwise. */
export function tooManyWaiting(
  whyNotReady: () => string,
  waiting: { readonly calls: number; readonly bytes: number },
  bytes: number,
  { maxWaitingCalls, maxWaitingBytes }: Pick<ChannelSettings, 'maxWaitingCalls' | 'maxWaitingBytes'>,
): WaitRefusal | undefined {
  const refusal = (limit: string): WaitRefusal => {
    const [calls, are] = waiting.calls === 1 ? ['call', 'is'] : ['calls', 'are'];
    const waitingBytes = `${String(waiting.bytes)} request ${waiting.bytes === 1 ? 'byte' : 'bytes'}`;
    return {
      reason: 'too-many-waiting',
      details: `${whyNotReady()}; ${String(waiting.calls)} ${calls} with ${waitingBytes} ${are} already waiting (${limit})`,
      retryAfterMs: undefined,
    };
  };
  if (waiting.calls >= maxWaitingCalls) return refusal(`maxWaitingCalls: ${String(maxWaitingCalls)}`);
  if (waiting.bytes + bytes <= maxWaitingBytes) return undefined;
  return refusal(`limit: ${String(maxWaitingBytes)} bytes; this request: ${String(bytes)}`);
}

export const CLOSED: WaitRefusal = { reason: 'closed', details: 'The client was closed', retryAfterMs: undefined };

/** Time in milliseconds after which a wait for a free stream is reported while another connection is being opened. */
const SLOW_STREAM_MS = 1_000;

export interface StreamWaitDependencies {
  readonly clock: Clock;
  readonly events: EventHub;
  readonly maxConnectionsPerEndpoint: () => number;
  readonly current: () => Pick<Wire, 'openAnother' | 'streamCapacity'>;
  readonly waiting: () => number;
}

/** Handles a wait for a free stream on a READY channel: opens further connections, and reports the wait. */
export class StreamWait {
  /** Start of the wait, in monotonic milliseconds; `undefined` if no call is waiting for a stream. */
  private since: number | undefined;
  private isReported = false;

  constructor(private readonly dependencies: StreamWaitDependencies) {}

  continues(): void {
    const { clock, events, maxConnectionsPerEndpoint, current, waiting } = this.dependencies;
    const now = clock.now();
    this.since ??= now;
    current().openAnother();
    const { streamCapacity } = current();
    if (streamCapacity === undefined || this.isReported) return;
    const { connections, limit, isGrowing: opensConnection } = streamCapacity;
    // A short wait while another connection opens is no sign of a problem.
    if (opensConnection && now - this.since < SLOW_STREAM_MS) return;
    this.isReported = true;
    if (!events.wanted) return;
    const maximum = { maxConnectionsPerSubchannel: maxConnectionsPerEndpoint() };
    const details = { waiting: waiting(), connections, limit, ...maximum, opensConnection };
    events.emit({ type: 'stream-limit', phase: 'begin', ...details });
  }

  ended(): void {
    const { clock, events } = this.dependencies;
    const now = clock.now();
    const durationMs = now - (this.since ?? now);
    this.since = undefined;
    if (this.isReported && events.wanted) events.emit({ type: 'stream-limit', phase: 'end', durationMs });
    this.isReported = false;
  }
}
