import type { CallCounts, CallOutcome, CallRecord } from './scripted-call.js';

type Writable<T> = { -readonly [K in keyof T]: T[K] };
type Counts = Writable<CallCounts>;

/** The record of a call while it is being written. */
export type OpenRecord = Writable<Omit<CallRecord, 'requests'>> & { readonly requests: unknown[] };

/** The journal of a scripted server: counts of all calls, and records of the latest ones. */
export class CallJournal {
  private readonly countsByPath = new Map<string, Counts>();
  private total = noCounts();
  private attemptsByPath = new Map<string, Map<string, number>>();
  private keptRecords: OpenRecord[] = [];

  constructor(private readonly maxRecords: number) {}

  /** Adds a new call. Returns its number among the calls to its method, starting at 1. */
  begin(record: OpenRecord): number {
    this.keptRecords.push(record);
    // Trimmed in batches, because removing the first element of a long list on each call would cost more than the call.
    if (this.keptRecords.length > 2 * this.maxRecords) this.keptRecords = this.keptRecords.slice(-this.maxRecords);
    for (const counts of [this.total, this.countsOf(record.path)]) {
      counts.calls += 1;
      counts.open += 1;
      counts.maxOpen = Math.max(counts.maxOpen, counts.open);
    }
    return this.countsOf(record.path).calls;
  }

  /** Sets the key of a call. Returns the number of the call among the calls with this key to the same method, starting at 1. */
  setKey(record: OpenRecord, key: string): number {
    record.key = key;
    const attemptsByKey = this.attemptsByPath.get(record.path) ?? new Map<string, number>();
    this.attemptsByPath.set(record.path, attemptsByKey);
    const attempt = (attemptsByKey.get(key) ?? 0) + 1;
    attemptsByKey.set(key, attempt);
    return attempt;
  }

  end(record: OpenRecord, outcome: Exclude<CallOutcome, 'open'>): void {
    if (record.outcome !== 'open') return;
    record.outcome = outcome;
    for (const counts of [this.total, this.countsOf(record.path)]) {
      counts.open -= 1;
      counts[outcome] += 1;
    }
  }

  counts(path?: string): CallCounts {
    return { ...(path === undefined ? this.total : this.countsOf(path)) };
  }

  records(path?: string): readonly CallRecord[] {
    const last = this.keptRecords.slice(-this.maxRecords);
    return path === undefined ? last : last.filter((record) => record.path === path);
  }

  /** Returns the number of calls by key. */
  attempts(path?: string): ReadonlyMap<string, number> {
    if (path !== undefined) return new Map(this.attemptsByPath.get(path));
    const all = new Map<string, number>();
    for (const attemptsByKey of this.attemptsByPath.values()) {
      for (const [key, count] of attemptsByKey) all.set(key, (all.get(key) ?? 0) + count);
    }
    return all;
  }

  /** Clears counts, records, and keys, except the records of open calls and the count `open`. Sets `maxOpen` to the value of `open`. */
  reset(): void {
    this.keptRecords = this.keptRecords.filter((record) => record.outcome === 'open');
    this.attemptsByPath = new Map();
    for (const counts of [this.total, ...this.countsByPath.values()]) {
      Object.assign(counts, noCounts(), { open: counts.open, maxOpen: counts.open });
    }
  }

  private countsOf(path: string): Counts {
    let counts = this.countsByPath.get(path);
    if (counts === undefined) {
      counts = noCounts();
      this.countsByPath.set(path, counts);
    }
    return counts;
  }
}

function noCounts(): Counts {
  return { calls: 0, open: 0, maxOpen: 0, answered: 0, cancelled: 0, disconnected: 0 };
}
