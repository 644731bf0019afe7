import type { DrainReport } from '../call/call-event.js';
import type { MethodKind, Transport } from '../call/method.js';
import type {
  ConnectionSnapshot,
  Connectivity,
  ConnectivityTransition,
  OutageSnapshot,
  ResolutionSnapshot,
} from '../call/connectivity.js';
import type { FailureReason, NotRetriedReason } from '../errors/grpc-call-error.js';
import type { HedgingPercentile } from '../policy/hedging/measured-delay.js';
import type { StatusName } from '../status/status-code.js';

/** An open call. */
export interface ActiveCall {
  readonly path: string;
  readonly kind: MethodKind;
  readonly peer?: string;
  readonly startedAt: Date;
  readonly lastMessageAt?: Date;
  readonly sent: number;
  readonly received: number;
  /** True if the call is waiting for the channel, or if the resumable stream is waiting for its next call. */
  readonly waiting: boolean;
  /**
   * What the requests of the call wait for: the server's limit of streams, window of the stream or the connection (the server, or a proxy,
   * does not read), or the socket. Absent if they do not wait, and with `transport: 'grpc-js'`.
   */
  readonly stalledBy?: 'stream-limit' | 'stream-window' | 'connection-window' | 'socket';
  /** Number of times the stream was resumed; present only for resumable streams. */
  readonly resumes?: number;
  /** 'file:line' of the application code that made the call; present for streams. In production, absent until the client has reported an unread stream. */
  readonly openedAt?: string;
  /** Ends the call with CANCELLED. */
  cancel(reason?: string): void;
}

/** A value after JSON serialization: dates are ISO 8601 strings, and functions are omitted. */
export type Serialized<T> = T extends Date
  ? string
  : T extends readonly (infer Item)[]
    ? readonly Serialized<Item>[]
    : T extends object
      ? { readonly [Key in keyof T as T[Key] extends (...args: never[]) => unknown ? never : Key]: Serialized<T[Key]> }
      : T;

/**
 * State of a client at one moment, as one JSON value. Counters start when the client is created. Within a version, fields may be added.
 * Existing fields keep their meaning and are never removed.
 */
export interface GrpcClientSnapshot {
  readonly version: 1;
  readonly at: string;
  readonly createdAt: string;
  readonly name: string;
  readonly target: string;
  /**
   * Shell command that examines the target with the TLS options of the client. Run it where the application runs. Absent if the
   * doctor does not support the target. Certificates and keys that are not files appear as FILE.
   */
  readonly doctorCommand?: string;
  readonly connectivity: Serialized<Connectivity>;
  /** The last 100 state changes, oldest first. */
  readonly history: Serialized<readonly ConnectivityTransition[]>;
  /** Transport of the connections: that of this library ('socket'), or that of grpc-js. */
  readonly transport: Transport;
  /**
   * Addresses to which the channel has tried to connect, including those no longer in use: up to 256, or more if more are in use. Empty if
   * the client uses grpc-js's transport.
   */
  readonly connections: readonly ConnectionSnapshot[];
  readonly resolution: ResolutionSnapshot;
  readonly outages: {
    readonly total: number;
    /** The last 20 outages that have ended, oldest first. */
    readonly latest: readonly OutageSnapshot[];
  };
  readonly waiting: number;
  /** Number of waiting calls that need only a free stream, because each connection has reached the server's limit on concurrent streams. */
  readonly waitingForStream: number;
  /** Waiting time of the call that has waited longest, in milliseconds; 0 if no call is waiting. */
  readonly oldestWaitMs: number;
  readonly waits: {
    readonly released: number;
    /** The call failed because of an outage, or because too many calls were waiting. */
    readonly refused: number;
    /** The call ended while it waited: it was cancelled, its deadline passed, or the client was drained or closed. */
    readonly abandoned: number;
  };
  /** Number of open calls, including waiting ones. A resumable stream counts as one. */
  readonly active: number;
  readonly counters: ClientCounters;
  /** Failed calls by reason, including those rejected before they started, except calls whose request source failed. */
  readonly failures: Readonly<Partial<Record<FailureReason, number>>>;
  /** Calls whose last attempt failed, by the reason why it was not retried. */
  readonly notRetried: Readonly<Partial<Record<NotRetriedReason, number>>>;
  readonly recent: RecentCalls;
  readonly methods: readonly MethodSnapshot[];
  readonly retryBudget: BudgetSnapshot;
  readonly hedgeBudget: BudgetSnapshot;
  readonly circuits: readonly CircuitSnapshot[];
  /** Hedging delays that follow latency (`hedge`), by method. */
  readonly hedgingDelays: readonly HedgingDelaySnapshot[];
  readonly limits: readonly LimitSnapshot[];
  readonly streams: {
    readonly total: number;
    /** The 100 oldest streams. */
    readonly oldest: readonly Serialized<ActiveCall>[];
  };
  /** Failures by method, code, and reason: at most 20 kinds, the latest last. */
  readonly errors: readonly ErrorSnapshot[];
  readonly drain: {
    readonly state: 'none' | 'draining' | 'drained' | 'closed';
    readonly report?: DrainReport;
  };
}

export interface ClientCounters {
  readonly started: number;
  readonly succeeded: number;
  readonly failed: number;
  /** Calls that were cancelled by their callers or with their inbound calls. */
  readonly cancelled: number;
  /** Attempts that were started on the channel. */
  readonly attempts: number;
  readonly retried: number;
  /** Attempts that were sent because another attempt was slow. */
  readonly hedged: number;
  /** Number of times an interrupted stream resumed. */
  readonly resumed: number;
  /** Number of times connections were replaced because of their age, new credentials, a changed service config, or missing responses. */
  readonly replaced: number;
}

/** Calls that ended recently. */
export interface RecentCalls {
  /** Length of the window in milliseconds: 30,000 to 60,000, less in the first 30 s after `getService()`, or 0 if no method was called. */
  readonly windowMs: number;
  /** Number of calls that ended, except rejected, cancelled, and interrupted calls, and calls whose request source failed. */
  readonly ended: number;
  readonly failed: number;
  /** Failed calls by status code. */
  readonly codes: Readonly<Partial<Record<StatusName, number>>>;
}

/** Counters of one method. Each call of a resumable stream is counted separately. */
export interface MethodSnapshot {
  /** Path of the method: '/orders.v1.Orders/Get'. */
  readonly path: string;
  readonly kind: MethodKind;
  readonly started: number;
  readonly succeeded: number;
  readonly failed: number;
  readonly cancelled: number;
  /** Calls that failed, but whose resumable streams continued with another call. They are not counted in `failed`. */
  readonly interrupted: number;
  readonly attempts: number;
  readonly retried: number;
  readonly hedged: number;
  /** Failed calls by status code, except calls whose request source failed. */
  readonly codes: Readonly<Partial<Record<StatusName, number>>>;
  readonly recent: RecentCalls;
  /**
   * Time from the start of a call to its response (for a response stream, to its headers), including waits and retries. Measured in the
   * window of `recent`, for successful calls and for response streams that received headers; absent if there were none. Accurate to 6%.
   */
  readonly latency?: {
    readonly p50Ms: number;
    readonly p90Ms: number;
    readonly p99Ms: number;
    readonly maxMs: number;
  };
}

export interface BudgetSnapshot {
  readonly tokens: number;
  readonly maxTokens: number;
  /** True if the tokens suffice for another retry or hedge. */
  readonly allows: boolean;
}

export interface CircuitSnapshot {
  readonly path: string;
  readonly state: 'closed' | 'open' | 'half-open';
}

export interface LimitSnapshot {
  /** Path of the method; absent for the limit of the whole client. */
  readonly path?: string;
  readonly running: number;
  readonly queued: number;
  /** Maximum number of running calls; the current value if the limit is adaptive. */
  readonly maxConcurrent: number;
  /** Present if the limit is adaptive. */
  readonly adaptive?: {
    /** Mean latency of the last measurement; absent before the first one, or if the server refused all measured calls. */
    readonly latencyMs?: number;
    /** Estimated mean latency without load; absent before the first measurement that finds no overload. */
    readonly unloadedLatencyMs?: number;
  };
}

export interface HedgingDelaySnapshot {
  readonly path: string;
  readonly percentile: HedgingPercentile;
  /** Current delay in milliseconds; absent until enough attempts have been measured. Until then, slow attempts are not hedged. */
  readonly delayMs?: number;
}

export interface ErrorSnapshot {
  readonly path: string;
  readonly code: StatusName;
  readonly reason: FailureReason;
  /** Details of the latest failure, on one line, truncated to 200 characters. Recognizable secrets are replaced with '***'. */
  readonly details: string;
  readonly peer?: string;
  readonly count: number;
  readonly firstAt: string;
  readonly lastAt: string;
}
