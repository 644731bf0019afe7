import type { StatusCode, StatusName } from '../../status/status-code.js';

/** Circuit breaker of a method. Every length is in milliseconds. */
export interface CircuitBreakerOptions {
  /** Share of failures at which it opens; above 0, at most 1. @defaultValue 0.5 */
  readonly failureRatio?: number | undefined;
  /** It never opens on fewer attempts than these within the sampling time; 1 or more. @defaultValue 20 */
  readonly minimumThroughput?: number | undefined;
  /** How far back attempts count; 100 or more. Choose at least twice `attemptTimeoutMs`. @defaultValue 10000 */
  readonly samplingDurationMs?: number | undefined;
  /**
   * How long it refuses before it lets a probe through. Doubles with each probe that fails, to 30 000 or to this value if that
   * is more; ±20 %, so that a fleet does not probe in one moment.
   * @defaultValue 5000
   */
  readonly breakDurationMs?: number | undefined;
  /**
   * Codes of answers that count as failures. Connections lost, requests handed back by the server's transport and attempt
   * timeouts count always.
   * @defaultValue ['UNAVAILABLE', 'DEADLINE_EXCEEDED']
   */
  readonly statusCodes?: readonly StatusName[] | undefined;
}

/** Options of a circuit breaker, resolved. */
export interface CircuitBreakerPolicy {
  readonly failureRatio: number;
  readonly minimumThroughput: number;
  readonly samplingDurationMs: number;
  readonly breakDurationMs: number;
  readonly maxBreakDurationMs: number;
  /** A probe without a verdict gives its permit back after this long. */
  readonly probeTimeoutMs: number;
  readonly statusCodes: ReadonlySet<StatusCode>;
}

/**
 * What holds where nothing is said. INTERNAL and UNKNOWN are not listed, as servers use them for errors of one request;
 * RESOURCE_EXHAUSTED is not, as it may be the quota of one user.
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
