/** A rule of gRFC A50 about the share of successful or failed attempts. */
export interface RateRule {
  /** Probability in percent with which a detected outlier is ejected. */
  readonly enforcementPercent: number;
  /** Minimum number of endpoints with enough attempts. */
  readonly minimumEndpoints: number;
  readonly minimumAttempts: number;
}

/** Complete rules for the ejection of endpoints; durations in milliseconds. */
export interface EjectionPolicy {
  /** Length of the period in which successes and failures are counted for the two rate rules. */
  readonly intervalMs: number;
  /** Number of further periods for which counts below the minimum are kept; 0 in gRFC A50. */
  readonly carriedIntervals: number;
  readonly baseEjectionMs: number;
  readonly maxEjectionMs: number;
  /** Percentage of ejected endpoints at which no further endpoint is ejected (gRFC A50). */
  readonly maxEjectionPercent: number;
  readonly panicThresholdPercent: number;
  /** Time without an ejection after which the next ejection is shorter by `baseEjectionMs`. */
  readonly ejectionDecayMs: number;
  readonly slowStartMs: number;
  /** Number of consecutive failed attempts after which an endpoint is ejected. */
  readonly consecutiveFailures: number | undefined;
  /** Ejects endpoints whose success rate is below the mean by more than `stdevFactor` thousandths of the standard deviation. */
  readonly successRate: (RateRule & { readonly stdevFactor: number }) | undefined;
  /** Ejects endpoints with a failure share above `threshold` percent, and at least `timesOthers` times that of the other endpoints. */
  readonly failurePercentage: (RateRule & { readonly threshold: number; readonly timesOthers: number }) | undefined;
  readonly latencyFactor: number | undefined;
}

/** Policy of `ejectUnhealthy: true`. The simulation in ejection.simulation.spec.ts finds no false ejection with this policy. */
export const DEFAULT_EJECTION: EjectionPolicy = Object.freeze({
  intervalMs: 1_000,
  carriedIntervals: 10,
  baseEjectionMs: 30_000,
  maxEjectionMs: 300_000,
  maxEjectionPercent: 100,
  panicThresholdPercent: 50,
  ejectionDecayMs: 60_000,
  slowStartMs: 10_000,
  consecutiveFailures: 5,
  successRate: undefined,
  failurePercentage: {
    threshold: 50,
    timesOthers: 2,
    enforcementPercent: 100,
    minimumEndpoints: 2,
    minimumAttempts: 20,
  },
  latencyFactor: 5,
});

/**
 * Weight of an endpoint that became usable `elapsedMs` ago: proportional to the time, but at least 0.1 and at most 1 (Envoy's slow start).
 */
export function slowStartWeight(elapsedMs: number, slowStartMs: number): number {
  return elapsedMs >= slowStartMs ? 1 : Math.max(MIN_SLOW_START_WEIGHT, elapsedMs / slowStartMs);
}

const MIN_SLOW_START_WEIGHT = 0.1;
