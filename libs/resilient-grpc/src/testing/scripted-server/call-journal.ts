import type { Metadata } from '@grpc/grpc-js';

/**
 * The state of a call: 'open', 'answered' with a status, 'cancelled' by the client or the deadline, or 'disconnected' because its
 * connection was lost or the server was stopped without a graceful end of its calls.
 */
type CallOutcome = 'open' | 'answered' | 'cancelled' | 'disconnected';

/** The record of a call. */
export interface CallRecord {
  readonly path: string;
  readonly method: string;
  readonly metadata: Metadata;
  readonly peer: string;
  readonly previousAttempts: number;
  /** Arrival time in milliseconds since 1970. */
  readonly at: number;
  readonly requests: readonly unknown[];
  readonly outcome: CallOutcome;
  /** The code of the status that this server sent; `undefined` if it sent none. */
  readonly code: number | undefined;
}

export interface CallCounts {
  /** Number of calls whose headers have arrived. */
  readonly calls: number;
  readonly open: number;
  /** Maximum number of calls that were open at the same time. */
  readonly maxOpen: number;
  readonly answered: number;
  readonly cancelled: number;
  readonly disconnected: number;
}

type Writable<T> = { -readonly [K in keyof T]: T[K] };

export type OpenRecord = Writable<Omit<CallRecord, 'requests'>> & { readonly requests: unknown[] };

const MAX_RECORDS = 10_000;

const ALL = '';

export class CallJournal {
  private readonly countsByPath = new Map<string, Writable<CallCounts>>();
  private keptRecords: OpenRecord[] = [];

  /** Adds a new call. Returns its number among the calls to its method, starting at 1. */
  begin(record: OpenRecord): number {
    this.keptRecords.push(record);
    // Trimmed in batches, because removing the first element of a long list on each call would cost more than the call.
    if (this.keptRecords.length > 2 * MAX_RECORDS) this.keptRecords = this.keptRecords.slice(-MAX_RECORDS);
    for (const counts of [this.countsOf(ALL), this.countsOf(record.path)]) {
      counts.calls += 1;
      counts.open += 1;
      counts.maxOpen = Math.max(counts.maxOpen, counts.open);
    }
    return this.countsOf(record.path).calls;
  }

  end(record: OpenRecord, outcome: Exclude<CallOutcome, 'open'>): void {
    record.outcome = outcome;
    for (const counts of [this.countsOf(ALL), this.countsOf(record.path)]) {
      counts.open -= 1;
      counts[outcome] += 1;
    }
  }

  counts(path = ALL): CallCounts {
    return { ...this.countsOf(path) };
  }

  records(path?: string): readonly CallRecord[] {
    const last = this.keptRecords.slice(-MAX_RECORDS);
    return path === undefined ? last : last.filter((record) => record.path === path);
  }

  /** Clears counts and records, except the records of open calls and the count `open`. Sets `maxOpen` to the value of `open`. */
  reset(): void {
    this.keptRecords = this.keptRecords.filter((record) => record.outcome === 'open');
    for (const counts of this.countsByPath.values())
      Object.assign(counts, noCounts(), { open: counts.open, maxOpen: counts.open });
  }

  private countsOf(path: string): Writable<CallCounts> {
    const counts = this.countsByPath.get(path) ?? noCounts();
    this.countsByPath.set(path, counts);
    return counts;
  }
}

function noCounts(): Writable<CallCounts> {
  return { calls: 0, open: 0, maxOpen: 0, answered: 0, cancelled: 0, disconnected: 0 };
}
