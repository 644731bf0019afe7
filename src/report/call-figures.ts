import type { ContenderResult } from '../load/comparison.js';
import type { StreamResult } from '../load/stream-comparison.js';
import { type Figure, milliseconds } from './table.js';

/** The figures of a contender's calls, and of its feeds if it has any. */
export interface CallResult extends ContenderResult {
  readonly feed?: StreamResult | undefined;
}

/** All rows that a table of calls can show. */
const FIGURES = {
  failedReads: { label: 'reads   failed', cell: ({ failedReads }) => String(failedReads) },
  failedWrites: {
    label: 'writes  failed',
    cell: ({ failedWrites, unsafeInFlightFailed }) => String(failedWrites + unsafeInFlightFailed),
    remark: inFlightAtTheKill,
  },
  duplicatedWrites: { label: 'writes  executed twice', cell: ({ duplicatedWrites }) => String(duplicatedWrites) },
  attemptsPerCall: {
    label: 'attempts per call',
    cell: ({ attempts, calls }) => (calls === 0 ? '-' : (attempts / calls).toFixed(3)),
  },
  p50: { label: 'half of calls within', cell: ({ latencyMs }) => milliseconds(latencyMs.p50) },
  p90: { label: '90 % of calls within', cell: ({ latencyMs }) => milliseconds(latencyMs.p90) },
  p99: { label: '99 % of calls within', cell: ({ latencyMs }) => milliseconds(latencyMs.p99) },
  recovery: { label: 'recovered after the server', cell: ({ recoveryMs }) => milliseconds(recoveryMs) },
  allWell: { label: 'last failure after server', cell: ({ allWellMs }) => milliseconds(allWellMs) },
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

// Acknowledged writes are in the log, so this row appears only if there is a defect.
const LOST_WRITES: Figure<CallResult> = {
  label: 'writes  lost',
  cell: ({ lostWrites }) => String(lostWrites),
  onlyIf: ({ lostWrites }) => lostWrites > 0,
};

/** Returns the rows with these names. */
export function callFigures(names: readonly CallFigureName[]): readonly Figure<CallResult>[] {
  return [...names.map((name) => FIGURES[name]), LOST_WRITES];
}

/** Returns the remark on failed writes that were in flight when the server was killed. */
function inFlightAtTheKill({ failedWrites, unsafeInFlightFailed }: ContenderResult): string {
  if (unsafeInFlightFailed === 0) return '';
  const count = failedWrites === 0 ? '' : `${unsafeInFlightFailed} `;
  return `${count}in flight at the kill`;
}
