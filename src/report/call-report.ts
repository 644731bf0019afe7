import type { FeedFigures } from '../load/feed-ledger.js';
import type { LatencyPercentiles } from '../load/latency-histogram.js';
import type { CallResult } from './call-figures.js';
import { feedReport } from './stream-report.js';

/** The figures of one contender's calls in the output of `--json`. */
interface CallReport extends Partial<FeedFigures> {
  readonly calls: number;
  readonly succeeded: number;
  /** All failures except `unsafeInFlightFailed`. */
  readonly failed: number;
  readonly failedByCode: Readonly<Record<string, number>>;
  /** Failed writes that were in flight when the connection was lost. */
  readonly unsafeInFlightFailed: number;
  readonly duplicatedWrites: number;
  readonly lostWrites: number;
  /** Number of requests that reached the upstream. */
  readonly attempts: number;
  /** Number of connections to the upstream, except the first. */
  readonly connectionsReplaced: number;
  /** Number of times the connection was lost; null if the client does not provide it. */
  readonly connectionLosses: number | null;
  readonly longestWaitMs: number;
  /** Time from when the server was reachable again to the first success; the longest of several. */
  readonly recoveryMs: number;
  /** Time from when the server was reachable again to the last failure; the longest of several. */
  readonly allWellMs: number;
  /** Durations of all calls that succeeded or failed. */
  readonly latencyMs: LatencyPercentiles;
}

/** Returns the report of one contender's calls. */
export function callReport(result: CallResult): CallReport {
  const { p50, p90, p99 } = result.latencyMs;
  return {
    calls: result.calls,
    succeeded: result.succeeded,
    failed: result.failed,
    failedByCode: result.failedByCode,
    unsafeInFlightFailed: result.unsafeInFlightFailed,
    duplicatedWrites: result.duplicatedWrites,
    lostWrites: result.lostWrites,
    attempts: result.attempts,
    connectionsReplaced: result.connectionsReplaced,
    connectionLosses: result.connectionLosses ?? null,
    longestWaitMs: Math.round(result.longestWaitMs),
    recoveryMs: Math.round(result.recoveryMs),
    allWellMs: Math.round(result.allWellMs),
    latencyMs: { p50: tenths(p50), p90: tenths(p90), p99: tenths(p99) },
    ...(result.feed && feedReport(result.feed)),
  };
}

// Refusals take less than a millisecond.
function tenths(value: number): number {
  return Math.round(value * 10) / 10;
}
