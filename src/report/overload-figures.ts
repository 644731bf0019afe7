import type { OverloadResult } from '../load/overload-run.js';
import { type Figure, milliseconds } from './table.js';

/** The rows for overloaded servers. */
export const OVERLOAD_FIGURES: readonly Figure<OverloadResult>[] = [
  { label: 'capacity', cell: ({ capacity }) => `${Math.round(capacity)}/s` },
  { label: 'calls   offered', cell: ({ offered }) => String(offered) },
  { label: 'calls   answered in time', cell: ({ good }) => String(good) },
  { label: 'calls   refused', cell: ({ refused }) => String(refused) },
  { label: 'handlers started too late', cell: ({ ranExpired }) => String(ranExpired) },
  { label: 'p99 of answered calls', cell: ({ p99Ms }) => (p99Ms === 0 ? '-' : milliseconds(p99Ms)) },
  { label: 'recovery after overload', cell: ({ goodAgainMs }) => milliseconds(goodAgainMs) },
];

/** The figures of one overloaded server in the output of `--json`. */
export interface OverloadReport {
  readonly offered: number;
  /** Number of calls that were answered in time. */
  readonly good: number;
  readonly refused: number;
  /** Number of handlers that started after the deadline of their call. */
  readonly ranExpired: number;
  /** 99th percentile of the latencies of calls that were answered in time, except those of the first second; 0 if there is no such call. */
  readonly p99Ms: number;
  readonly goodAgainMs: number;
}

/** Returns the report of one overloaded server. */
export function overloadReport({
  offered,
  good,
  refused,
  ranExpired,
  p99Ms,
  goodAgainMs,
}: OverloadResult): OverloadReport {
  return { offered, good, refused, ranExpired, p99Ms: Math.round(p99Ms), goodAgainMs: Math.round(goodAgainMs) };
}
