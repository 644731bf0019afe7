import type { ContenderResult } from '../load/comparison.js';
import type { FeedFigures } from '../load/feed-ledger.js';
import type { LatencyPercentiles } from '../load/latency-histogram.js';
import type { StreamResult } from '../load/stream-comparison.js';
import { feedReport } from './stream-figures.js';
import { type Figure, milliseconds } from './table.js';

/** The figures of a contender's calls, and of its feeds if it has any. */
export interface CallResult extends ContenderResult {
  readonly feed?: StreamResult | undefined;
}

/** The rows that a scenario can select for its table of calls. */
const FIGURES = {
  failedReads: { label: 'reads   failed', cell: ({ failedReads }) => String(failedReads) },
  failedWrites: {
    label: 'writes  failed',
    cell: ({ failedWrites, unsafeInFlightFailed }) => String(failedWrites + unsafeInFlightFailed),
    remark: cutOffInFlight,
  },
  duplicatedWrites: { label: 'writes  executed twice', cell: ({ duplicatedWrites }) => String(duplicatedWrites) },
  recovery: { label: 'recovery time', cell: ({ recoveryMs }) => milliseconds(recoveryMs) },
  lastFailure: { label: 'time to last failure', cell: ({ lastFailureMs }) => milliseconds(lastFailureMs) },
  longestWait: { label: 'longest wait of a call', cell: ({ longestWaitMs }) => milliseconds(longestWaitMs) },
  connectionsReplaced: {
    label: 'connections replaced',
    cell: ({ connectionsReplaced }) => String(connectionsReplaced),
    remark: ({ connectionsReplaced, connectionLosses }) =>
      connectionsReplaced > 0 && connectionLosses === 0 ? 'by a connection that was already ready' : '',
  },
  lostStreams: { label: 'feeds   lost', cell: ({ feed }) => (feed ? String(feed.streamsLost) : '-') },
  lostEvents: { label: 'events  lost', cell: ({ feed }) => (feed ? String(feed.lostEvents) : '-') },
  repeatedEvents: { label: 'events  repeated', cell: ({ feed }) => (feed ? String(feed.repeatedEvents) : '-') },
  longestGap: { label: 'longest gap in the feed', cell: ({ feed }) => (feed ? milliseconds(feed.longestGapMs) : '-') },
} as const satisfies Readonly<Record<string, Figure<CallResult>>>;
export type CallFigureName = keyof typeof FIGURES;

/** The rows for scenarios with lost connections. */
export const OUTAGE_FIGURES: readonly CallFigureName[] = [
  'failedReads',
  'failedWrites',
  'duplicatedWrites',
  'recovery',
  'longestWait',
];

// The upstream logs each write before it acknowledges the write, so this row appears only if there is a defect.
const LOST_WRITES: Figure<CallResult> = {
  label: 'writes  lost',
  cell: ({ lostWrites }) => String(lostWrites),
  onlyIf: ({ lostWrites }) => lostWrites > 0,
};

/** Returns the rows with these names, and the row for lost writes. */
export function callFigures(names: readonly CallFigureName[]): readonly Figure<CallResult>[] {
  return [...names.map((name) => FIGURES[name]), LOST_WRITES];
}

/** Returns the remark on failed writes that were in flight when their connection was lost. */
function cutOffInFlight({ failedWrites, unsafeInFlightFailed }: ContenderResult): string {
  if (unsafeInFlightFailed === 0) return '';
  const count = failedWrites === 0 ? '' : `${unsafeInFlightFailed} `;
  return `${count}cut off in flight`;
}

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
  /** Number of connections whose first request reached the upstream after the start of the run. */
  readonly connectionsReplaced: number;
  /** Number of times the connection was lost; null if the client does not provide it. */
  readonly connectionLosses: number | null;
  readonly longestWaitMs: number;
  /** Time from when the server was reachable again to the first success; the longest if there were several outages. */
  readonly recoveryMs: number;
  /** Time from when the server was reachable again to the last failure; the longest if there were several outages. */
  readonly lastFailureMs: number;
  /** Percentiles of the durations of all calls that succeeded or failed. */
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
    lastFailureMs: Math.round(result.lastFailureMs),
    latencyMs: { p50: tenths(p50), p90: tenths(p90), p99: tenths(p99) },
    ...(result.feed && feedReport(result.feed)),
  };
}

// Rounds to tenths of a millisecond, because refusals take less than a millisecond.
function tenths(value: number): number {
  return Math.round(value * 10) / 10;
}
