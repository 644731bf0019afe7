import type { FeedFigures } from '../load/feed-ledger.js';
import type { LatencyPercentiles } from '../load/latency-histogram.js';
import type { CallStanding } from './call-figures.js';
import { feedReport } from './stream-report.js';

/** The figures of one contender's calls, as `--json` prints them. */
interface CallReport extends Partial<FeedFigures> {
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
  /** Connections the upstream counted, besides the first. */
  readonly connectionsReplaced: number;
  /** How often there was a connection and then none, where the client knows. */
  readonly timesAway: number | null;
  readonly longestWaitMs: number;
  /** From the moment the server could be reached again to the first success; the longest of several. */
  readonly recoveryMs: number;
  /** From that moment to the last failure: from then on all was well. The longest of several. */
  readonly allWellMs: number;
  /** From a call's beginning to its end, however it ended. */
  readonly latencyMs: LatencyPercentiles;
}

/** The report of one contender's calls. */
export function callReport(standing: CallStanding): CallReport {
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
    connectionsReplaced: standing.connectionsReplaced,
    timesAway: standing.timesAway ?? null,
    longestWaitMs: Math.round(standing.longestWaitMs),
    recoveryMs: Math.round(standing.recoveryMs),
    allWellMs: Math.round(standing.allWellMs),
    latencyMs: { p50: tenths(p50), p90: tenths(p90), p99: tenths(p99) },
    ...(standing.feed && feedReport(standing.feed)),
  };
}

// Whole milliseconds would say nothing of a refusal.
function tenths(value: number): number {
  return Math.round(value * 10) / 10;
}
