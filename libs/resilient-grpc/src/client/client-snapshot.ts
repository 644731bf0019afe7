import type { Connectivity, ConnectivityState, ConnectivityTransition } from '../call/connectivity.js';
import type { MethodKind } from '../call/method.js';
import type { FailureReason } from '../errors/grpc-call-error.js';
import type { StatusName } from '../status/status-code.js';
import type { ActiveCall } from './active-call.js';
import type { DrainReport } from './drain-report.js';

/** A value as JSON has it: moments are ISO 8601 texts, functions are left out. */
export type AsJson<T> = T extends Date
  ? string
  : T extends readonly (infer Item)[]
    ? readonly AsJson<Item>[]
    : T extends object
      ? { readonly [Key in keyof T as T[Key] extends (...args: never[]) => unknown ? never : Key]: AsJson<T[Key]> }
      : T;

/**
 * Everything that is known of a client at one moment, as one JSON value. Counts are since the client was made. Within a version
 * nothing is taken away and nothing changes its meaning; there may be more.
 */
export interface GrpcClientSnapshot {
  readonly version: 1;
  /** Moment of the snapshot. */
  readonly at: string;
  /** Moment the client was made. */
  readonly madeAt: string;
  readonly name: string;
  readonly target: string;
  readonly connectivity: AsJson<Connectivity>;
  /** The last 100 changes of state, oldest first. */
  readonly history: AsJson<readonly ConnectivityTransition[]>;
  /** Addresses the channel knows; none where its policy is not ours (`xds:`). */
  readonly connections: readonly ConnectionSnapshot[];
  readonly outages: {
    readonly total: number;
    /** The last 20 that are over, oldest first. */
    readonly latest: readonly OutageSnapshot[];
  };
  /** Calls that wait for the channel. */
  readonly waiting: number;
  /** Of the call that has waited longest; 0 where none waits. */
  readonly oldestWaitMs: number;
  /** How waits for the channel ended. */
  readonly waits: {
    /** The channel was there. */
    readonly released: number;
    /** It was not, for too long, or too many waited. */
    readonly refused: number;
    /** The caller left, or its deadline came first. */
    readonly left: number;
  };
  /** Calls that have not ended, those that wait among them. A stream that is resumed is one. */
  readonly active: number;
  readonly counters: ClientCounters;
  /** Failed calls by reason, also those that were refused before they began. */
  readonly failures: Readonly<Partial<Record<FailureReason, number>>>;
  /** Failed attempts that were the last of their call, by why there was no further one. */
  readonly notRetried: Readonly<Record<string, number>>;
  /** Of all methods. */
  readonly recent: RecentCalls;
  /** Of methods that were called. */
  readonly methods: readonly MethodSnapshot[];
  /** What is left for retries, of what there is at most. */
  readonly retryBudget: BudgetSnapshot;
  /** What is left for hedges, of what there is at most. */
  readonly hedgeBudget: BudgetSnapshot;
  /** Of methods with a circuit breaker. */
  readonly circuits: readonly CircuitSnapshot[];
  /** Where calls at once are limited. */
  readonly limits: readonly LimitSnapshot[];
  readonly streams: {
    readonly total: number;
    /** The 100 oldest. */
    readonly oldest: readonly AsJson<ActiveCall>[];
  };
  /** Of 20 kinds at most, by method, code and reason, the latest last. */
  readonly errors: readonly ErrorSnapshot[];
  readonly drain: {
    readonly state: 'none' | 'draining' | 'drained' | 'closed';
    readonly report?: DrainReport;
  };
}

/** What is counted of a client. */
export interface ClientCounters {
  readonly started: number;
  readonly succeeded: number;
  readonly failed: number;
  /** Ended by their callers. */
  readonly cancelled: number;
  /** Attempts that were begun on a connection. */
  readonly attempts: number;
  readonly retried: number;
  /** Attempts beside another that was slow. */
  readonly hedged: number;
  /** How often streams went on after they had broken off. */
  readonly resumed: number;
  /** Connections that took the place of another: for their age, for new credentials, or because it was dead. */
  readonly replaced: number;
}

/** One address and its connection. */
export interface ConnectionSnapshot {
  readonly address: string;
  readonly state: ConnectivityState;
  readonly since: string;
  /** Connections to it that have ended. */
  readonly ended: number;
}

/** An outage that is over. */
export interface OutageSnapshot {
  readonly since: string;
  readonly durationMs: number;
  readonly cause: string;
  /** Failed attempts to connect. */
  readonly tries: number;
  /** Calls that waited in it. */
  readonly held: number;
  /** Calls whose callers left while they waited, or whose deadlines came. */
  readonly left: number;
  /** Calls that waited and failed, or were refused. */
  readonly failed: number;
}

/** Calls that ended lately. */
export interface RecentCalls {
  /** How far back it goes: between 30 and 60 seconds, less while the client is younger. */
  readonly windowMs: number;
  /** But for those ended by their callers. */
  readonly ended: number;
  readonly failed: number;
  /** The failed ones by status code. */
  readonly codes: Readonly<Partial<Record<StatusName, number>>>;
}

/** What is counted of one method, call by call: each call of a stream that is resumed is one. */
export interface MethodSnapshot {
  /** '/orders.v1.Orders/Get' */
  readonly path: string;
  readonly kind: MethodKind;
  readonly started: number;
  readonly succeeded: number;
  readonly failed: number;
  readonly cancelled: number;
  readonly attempts: number;
  readonly retried: number;
  readonly hedged: number;
  /** Failed calls by status code. */
  readonly codes: Readonly<Partial<Record<StatusName, number>>>;
  readonly recent: RecentCalls;
  /**
   * From the begin of a call to its answer (of a response stream: to its headers), waits and retries included, in the window of
   * `recent`; of calls that succeeded, and absent where there was none. Within 6 %.
   */
  readonly latency?: {
    readonly p50Ms: number;
    readonly p90Ms: number;
    readonly p99Ms: number;
    readonly maxMs: number;
  };
}

/** Tokens of a budget. */
export interface BudgetSnapshot {
  readonly tokens: number;
  readonly maxTokens: number;
}

/** The circuit breaker of a method. */
export interface CircuitSnapshot {
  readonly path: string;
  readonly state: 'closed' | 'open' | 'half-open';
}

/** Calls that run at once, and that wait to. */
export interface LimitSnapshot {
  /** Absent for the limit of the whole client. */
  readonly path?: string;
  readonly running: number;
  readonly queued: number;
  readonly maxConcurrent: number;
}

/** Failed calls of one kind. */
export interface ErrorSnapshot {
  readonly path: string;
  readonly code: StatusName;
  readonly reason: FailureReason;
  /** Of the latest, cut to 200 characters. */
  readonly details: string;
  readonly peer?: string;
  readonly count: number;
  readonly firstAt: string;
  readonly lastAt: string;
}
