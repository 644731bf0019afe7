import type { Connectivity } from '../../call/connectivity.js';
import type { EventHub } from '../../call/event-hub.js';
import { moment, type Clock, type Timer } from '../../time/clock.js';
import type { MethodKind } from '../../call/method.js';
import type { ActiveCall } from '../client-snapshot.js';

/**
 * Minimum age in milliseconds of a call that is reported, and minimum time in milliseconds for which its connection has received nothing.
 */
const UNANSWERED_AFTER_MS = 20_000;
const CHECK_INTERVAL_MS = 5_000;

export interface OpenCall {
  readonly kind: MethodKind;
  /** Monotonic milliseconds. */
  readonly startedAt: number;
  /** Milliseconds since 1970, or Infinity. */
  readonly deadline: number;
  /** True while the call waits for a connection, a permit, or a retry. */
  readonly waiting?: boolean;
  describe(): Pick<ActiveCall, 'path' | 'peer'>;
}

/** Unary calls that wait on a silent connection to one address. */
interface UnansweredGroup {
  readonly remedy: string;
  readonly oldestMs: number;
  readonly paths: Record<string, number>;
  /** True if the group contains a call that has not been reported. */
  hasNew: boolean;
}

/**
 * Reports unary calls that may never end: they have no deadline, and their connection has received nothing for 20 s. Without a report, a
 * frozen server leaves no trace, because no attempt and no connection fails. A report counts all such calls on the connection, but is made
 * only if at least one of them has not been reported before. A check schedules the next check only if calls are open.
 */
export class UnansweredCalls {
  private readonly reported = new WeakSet<OpenCall>();
  private timer: Timer | undefined;
  /** True if a check is scheduled. Not a getter, because every new call reads it. */
  isScheduled = false;

  /**
   * @param calls open calls, in the order in which they started
   * @param remedyFor returns the remedy if the connection to `peer` has received nothing since `since` (monotonic milliseconds), and
   * `undefined` otherwise. The remedy states how long the silence has lasted, counted from `countFrom` at the earliest.
   */
  constructor(
    private readonly calls: Iterable<OpenCall>,
    private readonly remedyFor: (peer: string, since: number, countFrom: number) => string | undefined,
    private readonly events: EventHub,
    private readonly clock: Clock,
  ) {}

  /** Schedules a check. Must be called only if none is scheduled. */
  wake(): void {
    this.isScheduled = true;
    const timer = this.clock.setTimer(() => {
      // Deferred, because a process that was suspended reads pending responses only after the timers of this turn.
      this.clock.defer(() => {
        if (this.timer !== timer) return;
        this.close();
        this.check();
      });
    }, CHECK_INTERVAL_MS);
    this.timer = timer;
  }

  close(): void {
    this.timer?.clear();
    this.timer = undefined;
    this.isScheduled = false;
  }

  private check(): void {
    const now = this.clock.now();
    const groups = new Map<string, UnansweredGroup | undefined>();
    let isNeeded = false;
    for (const call of this.calls) {
      isNeeded = true;
      if (now - call.startedAt < UNANSWERED_AFTER_MS) break;
      if (call.kind === 'unary' && call.deadline === Infinity && call.waiting !== true) this.examine(call, groups, now);
    }
    if (isNeeded) this.wake();
    if (!this.events.wanted) return;
    for (const [address, group] of groups) {
      if (group?.hasNew !== true) continue;
      const { remedy, oldestMs, paths } = group;
      this.events.emit({ type: 'unanswered-calls', address, remedy, oldestMs, paths });
    }
  }

  private examine(call: OpenCall, groups: Map<string, UnansweredGroup | undefined>, now: number): void {
    const { path, peer } = call.describe();
    if (peer === undefined) return;
    // The first call of an address is its oldest one.
    if (!groups.has(peer)) groups.set(peer, this.newGroup(peer, call.startedAt, now));
    const group = groups.get(peer);
    if (group === undefined) return;
    group.paths[path] = (group.paths[path] ?? 0) + 1;
    if (this.reported.has(call)) return;
    group.hasNew = true;
    this.reported.add(call);
  }

  /** Returns a group without calls; `undefined` if the connection to `peer` has received data in the last 20 s. */
  private newGroup(peer: string, oldestAt: number, now: number): UnansweredGroup | undefined {
    // The silence is counted from the start of the oldest call, so that the report describes one period.
    const remedy = this.remedyFor(peer, now - UNANSWERED_AFTER_MS, oldestAt);
    return remedy === undefined ? undefined : { remedy, oldestMs: now - oldestAt, paths: {}, hasNew: false };
  }
}

/** Time in milliseconds for which a unary call must have waited, and its connection must have received nothing. */
const SILENT_AFTER_MS = 10_000;

/**
 * Returns the unary calls that wait for an answer on connections that are there and receive nothing, as those to a frozen server.
 *
 * @param calls open calls, in the order in which they started
 * @param silentMs returns for how long the connection to `peer` has received nothing while a call ran that started at `startedAt`
 */
export function silenceOf(
  calls: Iterable<OpenCall>,
  silentMs: (peer: string, startedAt: number) => number | undefined,
  clock: Clock,
): Pick<Connectivity, 'silence'> {
  const now = clock.now();
  let count = 0;
  let longestMs = 0;
  for (const call of calls) {
    if (now - call.startedAt < SILENT_AFTER_MS) break;
    if (call.kind !== 'unary' || call.waiting === true) continue;
    const { peer } = call.describe();
    const ms = peer === undefined ? 0 : (silentMs(peer, call.startedAt) ?? 0);
    if (ms < SILENT_AFTER_MS) continue;
    count += 1;
    longestMs = Math.max(longestMs, ms);
  }
  return count === 0 ? {} : { silence: { since: moment(clock.epoch() - longestMs), calls: count } };
}
