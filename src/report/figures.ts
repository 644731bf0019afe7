import type { Standing } from '../load/contest.js';

/** A figure of the table: what stands before it, and what stands in a contender's column. */
export interface Figure {
  readonly label: string;
  readonly cell: (standing: Standing) => string;
}

/** All that a table may show. */
export const FIGURES = {
  failedReads: { label: 'reads   failed', cell: ({ failedReads }) => String(failedReads) },
  failedWrites: {
    label: 'writes  failed',
    cell: ({ failedWrites, unsafeInFlightFailed }) => String(failedWrites + unsafeInFlightFailed),
  },
  duplicatedWrites: { label: 'writes  done twice', cell: ({ duplicatedWrites }) => String(duplicatedWrites) },
  lostWrites: { label: 'writes  lost', cell: ({ lostWrites }) => String(lostWrites) },
  attemptsPerCall: {
    label: 'attempts per call',
    cell: ({ attempts, calls }) => (calls === 0 ? '-' : (attempts / calls).toFixed(3)),
  },
  p50: { label: 'half of calls within', cell: ({ latencyMs }) => milliseconds(latencyMs.p50) },
  p90: { label: '90 % of calls within', cell: ({ latencyMs }) => milliseconds(latencyMs.p90) },
  p99: { label: '99 % of calls within', cell: ({ latencyMs }) => milliseconds(latencyMs.p99) },
  recovery: { label: 'back after the server', cell: ({ recoveryMs }) => milliseconds(recoveryMs) },
  longestWait: { label: 'longest wait of a call', cell: ({ longestWaitMs }) => milliseconds(longestWaitMs) },
} as const satisfies Readonly<Record<string, Figure>>;
export type FigureName = keyof typeof FIGURES;

/** What lost connections are measured by. */
export const OUTAGE_FIGURES: readonly FigureName[] = [
  'failedReads',
  'failedWrites',
  'duplicatedWrites',
  'recovery',
  'longestWait',
];

function milliseconds(value: number): string {
  return `${Math.round(value)} ms`;
}
