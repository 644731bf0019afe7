import type { ConnectFailureKind } from '../policy/connect-failure/connect-failures.js';
import type { EjectionEvidence } from '../policy/ejection/next-ejection.js';

/**
 * gRPC's connectivity states (https://github.com/grpc/grpc/blob/master/doc/connectivity-semantics-and-api.md). Future versions will not add
 * a state.
 */
export type ConnectivityState = 'IDLE' | 'CONNECTING' | 'READY' | 'TRANSIENT_FAILURE' | 'SHUTDOWN';

/** Connectivity of a channel at one moment. */
export interface Connectivity {
  readonly state: ConnectivityState;
  readonly since: Date;
  /**
   * Last failure to connect, or the reason why the last connection ended. A later attempt to connect is described instead after running for
   * 1.5 s.
   */
  readonly lastError?: string;
  /** Explains `lastError`. Present while the channel is not READY, if `lastError` describes a failed or slow attempt to connect. */
  readonly lastFailure?: {
    readonly kind: ConnectFailureKind;
    readonly remedy: string;
    /** The shell command that examines the target; absent if the doctor does not support it. Contains no credentials. */
    readonly doctorCommand?: string;
  };
  /**
   * Unary calls that have waited for at least 10 s on connections that are there and have received nothing since then: the server is frozen,
   * stuck, or slow. Absent without such calls, and with grpc-js's transport.
   */
  readonly silence?: { readonly since: Date; readonly calls: number };
  /** Outage, from the first failed attempt to connect until the server has answered a call, or READY has lasted 1 s. */
  readonly outage?: {
    readonly since: Date;
    /** End of the outage grace period. Calls without `waitForReady` wait until then; after that, they fail immediately. */
    readonly graceEndsAt: Date;
    readonly connectAttempts: number;
    readonly nextAttemptAt?: Date;
    /** True if this is at least the third outage within a minute. These outages share one grace period. */
    readonly flapping: boolean;
  };
}

export interface ConnectivityTransition {
  readonly from: ConnectivityState;
  readonly to: ConnectivityState;
  readonly at: Date;
  readonly cause?: string;
}

/** Health of an endpoint, if the client checks or ejects endpoints. */
export interface EndpointSnapshot {
  /**
   * Health that the endpoint reports (`healthCheckConfig`); 'pending' before its first report. A minor version may add values; handle
   * unknown ones in a default branch.
   */
  readonly health?:
    'pending' | 'serving' | 'not-serving' | 'unknown-service' | 'unanswered' | 'failed' | 'unimplemented';
  /** The endpoint's share of the client's attempts in the last 10 to 20 s, from 0 to 1. Absent if the client does not eject endpoints. */
  readonly share?: number;
  /**
   * Fraction of a full share of the calls that the endpoint receives: 1, or less during its slow start. Absent if the client does not eject
   * endpoints.
   */
  readonly weight?: number;
  /** Median latency of recent unary attempts, in milliseconds. */
  readonly latencyMs?: number;
  /** Current ejection: its evidence, its end, and the multiplier of its duration (`ejections`), as in the event `endpoint`. */
  readonly ejected?: EjectionEvidence & { readonly until: string; readonly ejections: number };
}

/** One address and its connection. Further connections to an address are numbered: '10.0.0.7:50051#2'. */
export interface ConnectionSnapshot extends EndpointSnapshot {
  readonly address: string;
  readonly state: ConnectivityState;
  readonly since: string;
  /** Number of connections to the address that have ended. */
  readonly ended: number;
  readonly streams?: {
    readonly open: number;
    /** The server's limit (SETTINGS_MAX_CONCURRENT_STREAMS); absent if it sets none. */
    readonly limit?: number;
  };
}

/** Addresses of the target's name, and the lookups that find them. */
export interface ResolutionSnapshot {
  /** Number of addresses in use; 0 before the first lookup. */
  readonly addresses: number;
  /** End of the last lookup; absent before the first one. A target without a name is resolved only once. */
  readonly lastLookupAt?: string;
  /** True if the last lookup found no address. If the lookup failed, earlier addresses stay in use. */
  readonly failing: boolean;
  /** Earliest time of the next periodic lookup; absent if the name is resolved only on demand, or while the channel is idle. */
  readonly nextLookupAt?: string;
  /** Watch of the endpoints of a `kubernetes:` target; absent before the watch has started. */
  readonly watch?: EndpointWatchSnapshot;
}

/** Watch of a target's endpoints (`kubernetes:`). All channels to a service share it. */
export interface EndpointWatchSnapshot {
  readonly server: string;
  /**
   * - 'listing': the first list has been requested.
   * - 'watching': the API server reports changes.
   * - 'failing': requests fail and are retried. Earlier endpoints stay in use.
   * - 'stopped': the channel is idle or closed.
   */
  readonly state: 'listing' | 'watching' | 'failing' | 'stopped';
  readonly since: string;
  /** Number of endpoints of the service by condition, as last reported; absent before the first list. */
  readonly endpoints?: { readonly ready: number; readonly notReady: number; readonly terminating: number };
  readonly changedAt?: string;
  readonly error?: string;
  /** Remedy for a missing permission, with a command; absent for other errors. */
  readonly remedy?: string;
}

export interface OutageSnapshot {
  readonly since: string;
  readonly durationMs: number;
  readonly cause: string;
  readonly connectAttempts: number;
  readonly waitedCalls: number;
  /** Number of calls that were cancelled or reached their deadline while they waited. */
  readonly abandonedCalls: number;
  /** Number of calls that were refused, immediately or after a wait. */
  readonly failedCalls: number;
}

// In the order of grpc-js's enum values.
const NAMES: readonly ConnectivityState[] = ['IDLE', 'CONNECTING', 'READY', 'TRANSIENT_FAILURE', 'SHUTDOWN'];

export function stateName(state: number): ConnectivityState {
  return NAMES[state] ?? 'SHUTDOWN';
}
