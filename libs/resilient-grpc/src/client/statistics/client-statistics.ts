import type { WaitEnd } from '../../call/call-telemetry.js';
import type { MethodDescriptor } from '../../call/method.js';
import type { FailureReason, NotRetriedReason } from '../../errors/grpc-call-error.js';
import type { Clock } from '../../time/clock.js';
import type { ClientCounters, GrpcClientSnapshot, RecentCalls } from '../client-snapshot.js';
import { LastFailures } from './last-failures.js';
import { MethodStatistics, sumOfCalls, type CountFailure } from './method-statistics.js';

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

  /** Returns the counts of recently ended calls, summed over all methods. */
  recentCalls(): RecentCalls {
    const now = this.clock.now();
    return sumOf([...this.byPath.values()].map((method) => method.recentCalls(now)));
  }

  /** Returns the number of calls that failed for `reason`, including calls that were rejected before they started. */
  failedBy(reason: FailureReason): number {
    return this.failures.get(reason) ?? 0;
  }

  snapshot(): StatisticsSnapshot {
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
    count(this.failures, reason);
    if (attempted) count(this.notRetried, notRetriedBecause ?? reason);
    this.log.add({ path, code, reason, details, peer }, this.clock.epoch());
  };
}

/** The part of a client's snapshot that `ClientStatistics` provides. */
export type StatisticsSnapshot = Pick<ClientCounters, 'attempts' | 'retried' | 'hedged'> &
  Pick<GrpcClientSnapshot, 'waits' | 'failures' | 'notRetried' | 'recent' | 'methods' | 'errors'>;

function count<Key>(counts: Map<Key, number>, key: Key): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}

function sumOf(all: readonly RecentCalls[]): RecentCalls {
  return { windowMs: Math.max(0, ...all.map(({ windowMs }) => windowMs)), ...sumOfCalls(all) };
}
