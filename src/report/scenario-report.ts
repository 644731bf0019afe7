import type { ContenderName } from '../contenders/contender.js';
import type { Standing } from '../load/contest.js';

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
  };
}
