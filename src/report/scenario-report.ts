import type { ContenderName } from '../contenders/contender.js';
import type { Standing } from '../load/contest.js';
import type { LatencyPercentiles } from '../load/latency-histogram.js';

/** The figures of one contender, as `--json` prints them. */
export interface ContenderReport {
  readonly calls: number;
  readonly succeeded: number;
  /** All failures but `unsafeInFlightFailed`. */
  readonly failed: number;
  readonly failedByCode: Readonly<Record<string, number>>;
  /** Writes in flight when the connection was lost. */
  readonly unsafeInFlightFailed: number;
  readonly duplicatedWrites: number;
  readonly lostWrites: number;
  /** Requests the upstream counted. */
  readonly attempts: number;
  readonly longestWaitMs: number;
  /** From the moment the server could be reached again to the first success; the longest of several. */
  readonly recoveryMs: number;
  /** From a call's beginning to its end, however it ended. */
  readonly latencyMs: LatencyPercentiles;
}

/** What `--json` prints: the scenario and a report for each contender. */
export type ScenarioReport = { readonly scenario: string; readonly seconds: number } & Readonly<
  Partial<Record<ContenderName, ContenderReport>>
>;

/** The report of a scenario that has ended. */
export function scenarioReport(scenario: string, seconds: number, standings: readonly Standing[]): ScenarioReport {
  return {
    scenario,
    seconds,
    ...Object.fromEntries(standings.map((standing) => [standing.name, contenderReport(standing)])),
  };
}

function contenderReport(standing: Standing): ContenderReport {
  const { p50, p90, p99 } = standing.latencyMs;
  return {
    calls: standing.calls,
    succeeded: standing.succeeded,
    failed: standing.failed,
    failedByCode: standing.failedByCode,
    unsafeInFlightFailed: standing.unsafeInFlightFailed,
    duplicatedWrites: standing.duplicatedWrites,
    lostWrites: standing.lostWrites,
    attempts: standing.attempts,
    longestWaitMs: Math.round(standing.longestWaitMs),
    recoveryMs: Math.round(standing.recoveryMs),
    latencyMs: { p50: tenths(p50), p90: tenths(p90), p99: tenths(p99) },
  };
}

// Whole milliseconds would say nothing of a refusal.
function tenths(value: number): number {
  return Math.round(value * 10) / 10;
}
