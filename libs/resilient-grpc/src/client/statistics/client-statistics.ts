import { LatencyHistogram } from '../../time/latency-histogram.js';
import type { WaitEnd } from '../../call/call-telemetry.js';
import type { MethodDescriptor } from '../../call/method.js';
import type { FailureReason, NotRetriedReason } from '../../errors/grpc-call-error.js';
import { type Clock, moment } from '../../time/clock.js';
import type { RecentCalls, MethodSnapshot, ErrorSnapshot } from '../client-snapshot.js';
import { statusName, type StatusCode, type StatusName } from '../../status/status-code.js';
import { oneLine } from '../../telemetry/log/log-text.js';

export interface CountedFailure {
  readonly code: StatusCode;
  readonly reason: FailureReason;
  readonly details: string;
  readonly notRetriedBecause?: NotRetriedReason | undefined;
  readonly peer?: string | undefined;
}

/** Counts a failure of any method. `attempted` is true if an attempt was made. */
export type CountFailure = (path: string, failure: CountedFailure, attempted: boolean) => void;

/** Duration of one slice of the recent calls in milliseconds: half of the maximum window. */
const SLICE_MS = 30_000;

/**
 * Counters of one method: totals, and counts of recent calls. Recent calls are those that ended in the current or the previous 30 s slice,
 * except cancelled and interrupted calls, and calls whose request source failed. The counters are always maintained, because the cost is
 * low. Times are monotonic milliseconds.
 */
export class MethodStatistics {
  started = 0;
  attempts = 0;
  retried = 0;
  hedged = 0;
  /** Calls that failed, but whose streams continued with another call. Such a stream does not count as failed. */
  interrupted = 0;
  cancelled = 0;
  private succeededCalls = 0;
  private failedCalls = 0;
  private readonly codes: StatusCounts = {};
  private current: Slice;
  private previous: Slice;

  constructor(
    private readonly method: Pick<MethodDescriptor, 'path' | 'kind'>,
    private readonly countFailure: CountFailure,
    private readonly beganAt: number,
  ) {
    this.current = new Slice(beganAt);
    this.previous = new Slice(beganAt);
  }

  /** Records the latency of a response stream's headers, measured from the start of the call. */
  answered(latencyMs: number, now: number): void {
    (this.sliceAt(now).latencies ??= new LatencyHistogram()).record(latencyMs);
  }

  /** Counts a call that succeeded. `latencyMs` is `undefined` if it has already been recorded, or if a drain completed the stream. */
  succeeded(latencyMs: number | undefined, now: number): void {
    this.succeededCalls += 1;
    const slice = this.sliceAt(now);
    slice.ended += 1;
    if (latencyMs !== undefined) (slice.latencies ??= new LatencyHistogram()).record(latencyMs);
  }

  failed(failure: CountedFailure, attempted: boolean, now: number): void {
    this.failedCalls += 1;
    const status = statusName(failure.code);
    count(this.codes, status);
    const slice = this.sliceAt(now);
    slice.ended += 1;
    slice.failed += 1;
    count(slice.codes, status);
    this.countFailure(this.method.path, failure, attempted);
  }

  sourceFailed(): void {
    this.failedCalls += 1;
  }

  /** Counts a call that was rejected before it started. It counts as a failure of the client, not of the method. */
  refused(failure: CountedFailure): void {
    this.countFailure(this.method.path, failure, false);
  }

  recentCalls(now: number): RecentCalls {
    const current = this.sliceAt(now);
    const { previous } = this;
    return {
      ...sumOfCalls([current, previous]),
      windowMs: Math.round(now - Math.max(this.beganAt, previous.beganAt)),
    };
  }

  /** Returns the latency of recent calls in milliseconds, without the cost of `snapshot()`; `undefined` if none has succeeded. */
  usualLatency(now: number): { readonly p50Ms: number; readonly p99Ms: number } | undefined {
    const latencies = this.sliceAt(now).latencies ?? this.previous.latencies;
    if (latencies === undefined || latencies.isEmpty) return undefined;
    return { p50Ms: latencies.percentile(50), p99Ms: latencies.percentile(99) };
  }

  snapshot(now: number): MethodSnapshot {
    const latency = this.recentLatency(now);
    return {
      path: this.method.path,
      kind: this.method.kind,
      started: this.started,
      succeeded: this.succeededCalls,
      failed: this.failedCalls,
      cancelled: this.cancelled,
      interrupted: this.interrupted,
      attempts: this.attempts,
      retried: this.retried,
      hedged: this.hedged,
      codes: { ...this.codes },
      recent: this.recentCalls(now),
      ...(latency === undefined ? {} : { latency }),
    };
  }

  private recentLatency(now: number): MethodSnapshot['latency'] {
    const both = [this.sliceAt(now), this.previous].flatMap(({ latencies }) => latencies ?? []);
    if (both.every(({ isEmpty }) => isEmpty)) return undefined;
    const joined = new LatencyHistogram();
    for (const one of both) joined.addAll(one);
    return {
      p50Ms: joined.percentile(50),
      p90Ms: joined.percentile(90),
      p99Ms: joined.percentile(99),
      maxMs: joined.percentile(100),
    };
  }

  /** Returns the slice of calls that end now, and drops slices that are too old. */
  private sliceAt(now: number): Slice {
    const age = now - this.current.beganAt;
    if (age < SLICE_MS) return this.current;
    const { previous } = this;
    this.previous = this.current;
    this.current = previous;
    previous.clear(now - (age % SLICE_MS));
    // The slice that was current until now is also too old if at least two slice lengths have passed.
    if (age >= 2 * SLICE_MS) this.previous.clear(previous.beganAt - SLICE_MS);
    return previous;
  }
}

class Slice {
  ended = 0;
  failed = 0;
  codes: StatusCounts = {};
  /** Created by the first measured call, because many methods of a client are never called. */
  latencies: LatencyHistogram | undefined;

  constructor(public beganAt: number) {}

  clear(now: number): void {
    this.beganAt = now;
    this.ended = 0;
    this.failed = 0;
    this.codes = {};
    this.latencies?.clear();
  }
}

type StatusCounts = Partial<Record<StatusName, number>>;

function count(counts: StatusCounts, status: StatusName, by = 1): void {
  counts[status] = (counts[status] ?? 0) + by;
}

function sumOfCalls(all: readonly Omit<RecentCalls, 'windowMs'>[]): Omit<RecentCalls, 'windowMs'> {
  const codes: StatusCounts = {};
  for (const one of all) {
    // The keys are status names.
    for (const [status, number] of Object.entries(one.codes) as [StatusName, number][]) count(codes, status, number);
  }
  return {
    ended: all.reduce((sum, { ended }) => sum + ended, 0),
    failed: all.reduce((sum, { failed }) => sum + failed, 0),
    codes,
  };
}

export interface FailedCall extends Omit<CountedFailure, 'notRetriedBecause'> {
  readonly path: string;
}

interface Kind {
  latest: FailedCall;
  count: number;
  readonly firstAt: number;
  lastAt: number;
}

const MAX_KINDS = 20;
const MAX_DETAILS_LENGTH = 200;

/** The most recent kinds of failures. Failures are grouped, because thousands of calls fail for the same reason during an outage. */
export class LastFailures {
  /** Ordered by the last failure, the latest at the end. */
  private readonly kinds = new Map<string, Kind>();

  /** @param epoch milliseconds since 1970 */
  add(call: FailedCall, epoch: number): void {
    const key = `${call.path} ${String(call.code)} ${call.reason}`;
    const kind = this.kinds.get(key) ?? { latest: call, count: 0, firstAt: epoch, lastAt: epoch };
    kind.latest = call;
    kind.count += 1;
    kind.lastAt = epoch;
    this.kinds.delete(key);
    this.kinds.set(key, kind);
    if (this.kinds.size <= MAX_KINDS) return;
    const [oldest] = this.kinds.keys();
    if (oldest !== undefined) this.kinds.delete(oldest);
  }

  snapshot(): ErrorSnapshot[] {
    return [...this.kinds.values()].map(({ latest, count, firstAt, lastAt }) => ({
      path: latest.path,
      code: statusName(latest.code),
      reason: latest.reason,
      // `oneLine` also masks credentials, because visitors to the dashboard can read an upstream's details.
      details: oneLine(latest.details, MAX_DETAILS_LENGTH),
      ...(latest.peer === undefined ? {} : { peer: latest.peer }),
      count,
      firstAt: moment(firstAt).toISOString(),
      lastAt: moment(lastAt).toISOString(),
    }));
  }
}

/** Counters of a client for its snapshot. They are always maintained, even if no snapshot is taken. */
export class ClientStatistics {
  readonly waits: Record<WaitEnd, number> = { released: 0, refused: 0, abandoned: 0 };
  private readonly byPath = new Map<string, MethodStatistics>();
  private readonly failures = new Map<FailureReason, number>();
  private readonly notRetried = new Map<NotRetriedReason, number>();
  private readonly log = new LastFailures();

  constructor(private readonly clock: Clock) {}

  /** Returns the statistics of a method: the same object while the client is open, even if the method's policy changes. */
  of(method: Pick<MethodDescriptor, 'path' | 'kind'>): MethodStatistics {
    let found = this.byPath.get(method.path);
    if (found === undefined) {
      found = new MethodStatistics(method, this.countFailure, this.clock.now());
      this.byPath.set(method.path, found);
    }
    return found;
  }

  recentCalls(): RecentCalls {
    const now = this.clock.now();
    return sumOf([...this.byPath.values()].map((method) => method.recentCalls(now)));
  }

  /** Returns the number of calls that failed for `reason`, including calls that were rejected before they started. */
  failedBy(reason: FailureReason): number {
    return this.failures.get(reason) ?? 0;
  }

  snapshot() {
    const now = this.clock.now();
    const methods = [...this.byPath.values()].filter(({ started }) => started > 0).map((one) => one.snapshot(now));
    const total = (key: 'attempts' | 'retried' | 'hedged'): number => methods.reduce((sum, one) => sum + one[key], 0);
    return {
      attempts: total('attempts'),
      retried: total('retried'),
      hedged: total('hedged'),
      waits: { ...this.waits },
      failures: Object.fromEntries(this.failures),
      notRetried: Object.fromEntries(this.notRetried),
      recent: sumOf(methods.map(({ recent }) => recent)),
      methods,
      errors: this.log.snapshot(),
    };
  }

  private readonly countFailure: CountFailure = (path, failure, attempted) => {
    const { code, reason, details, notRetriedBecause, peer } = failure;
    increment(this.failures, reason);
    if (attempted) increment(this.notRetried, notRetriedBecause ?? reason);
    this.log.add({ path, code, reason, details, peer }, this.clock.epoch());
  };
}

function increment<Key>(counts: Map<Key, number>, key: Key): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}

function sumOf(all: readonly RecentCalls[]): RecentCalls {
  return { windowMs: Math.max(0, ...all.map(({ windowMs }) => windowMs)), ...sumOfCalls(all) };
}
