import type { ContenderResult } from '../load/comparison.js';

/** The figures of one contender's calls to several replicas, in the output of `--json`. */
export interface ReplicasReport {
  readonly calls: number;
  readonly failed: number;
  /** Number of attempts that reached a replica that their call had already tried. */
  readonly triedAgain: number;
  /** 99th percentile of the durations of all calls, including failed ones. */
  readonly p99Ms: number;
  /** Number of ejections of a replica; 0 for a client without ejection. */
  readonly ejections: number;
}

/** Returns the report of one contender's calls. */
export function replicasReport(result: ContenderResult): ReplicasReport {
  return {
    calls: result.calls,
    failed: result.failed + result.unsafeInFlightFailed,
    triedAgain: result.triedAgain,
    p99Ms: Math.round(result.latencyMs.p99 * 10) / 10,
    ejections: result.ejections ?? 0,
  };
}
