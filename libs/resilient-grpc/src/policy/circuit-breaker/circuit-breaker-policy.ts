import type { StatusCode, StatusName } from '../../status/status-code.js';

/** Options of a circuit breaker. */
export interface CircuitBreakerOptions {
  /** Share of failed attempts at which the circuit opens; greater than 0, at most 1. @defaultValue 0.5 */
  readonly failureRatio?: number | undefined;
  /** Minimum number of attempts within the sampling time before the circuit can open; 1 or more. @defaultValue 20 */
  readonly minimumThroughput?: number | undefined;
  /** Sampling time in milliseconds; 100 or more. Choose at least twice `attemptTimeoutMs`. @defaultValue 10000 */
  readonly samplingDurationMs?: number | undefined;
  /**
   * Time in milliseconds for which an open circuit rejects attempts before it admits a probe; above 0. Doubles with each failed probe, up
   * to 30,000 or this value, whichever is greater. Jittered by ±20%, so that the clients of a fleet do not all probe at once.
   * @defaultValue 5000
   */
  readonly breakDurationMs?: number | undefined;
  /**
   * Status codes that count as failures. Lost connections, requests rejected by the server's transport, attempt timeouts, idle
   * streams, and transient HTTP errors from a gateway always count.
   * @defaultValue ['UNAVAILABLE', 'DEADLINE_EXCEEDED']
   */
  readonly statusCodes?: readonly StatusName[] | undefined;
}

/** Resolved options of a circuit breaker. */
export interface CircuitBreakerPolicy {
  readonly failureRatio: number;
  readonly minimumThroughput: number;
  readonly samplingDurationMs: number;
  readonly breakDurationMs: number;
  readonly maxBreakDurationMs: number;
  /** Time in milliseconds after which a probe without a result loses its permit to the next attempt. */
  readonly probeTimeoutMs: number;
  readonly statusCodes: ReadonlySet<StatusCode>;
}

/**
 * Default options. INTERNAL and UNKNOWN are not listed, because servers use them for errors in a single request. RESOURCE_EXHAUSTED is not
 * listed, because it may mean that a single user exceeded a quota.
 */
export const DEFAULT_CIRCUIT_BREAKER: CircuitBreakerPolicy = {
  failureRatio: 0.5,
  minimumThroughput: 20,
  samplingDurationMs: 10_000,
  breakDurationMs: 5_000,
  maxBreakDurationMs: 30_000,
  probeTimeoutMs: 5_000,
  statusCodes: new Set<StatusCode>([14, 4]),
};
