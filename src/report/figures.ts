import type { ContenderResult } from '../load/comparison.js';
import type { OverloadResult } from '../load/overload-run.js';
import type { StreamResult } from '../load/stream-comparison.js';
import { type Figure, milliseconds } from './table.js';

/** The rows for calls. */
export const CALL_FIGURES: readonly Figure<ContenderResult>[] = [
  { label: 'reads   failed', cell: ({ failedReads }) => String(failedReads) },
  {
    label: 'writes  failed',
    cell: ({ failedWrites, unsafeInFlightFailed }) => String(failedWrites + unsafeInFlightFailed),
    remark: cutOffInFlight,
  },
  { label: 'writes  executed twice', cell: ({ duplicatedWrites }) => String(duplicatedWrites) },
  { label: 'recovery time', cell: ({ recoveryMs }) => milliseconds(recoveryMs) },
  { label: 'longest wait of a call', cell: ({ longestWaitMs }) => milliseconds(longestWaitMs) },
  // The upstream logs each write before it acknowledges the write, so this row appears only if there is a defect.
  {
    label: 'writes  lost',
    cell: ({ lostWrites }) => String(lostWrites),
    onlyIf: ({ lostWrites }) => lostWrites > 0,
  },
];

/** The rows for feeds. */
export const FEED_FIGURES: readonly Figure<StreamResult>[] = [
  { label: 'events  delivered', cell: ({ events }) => String(events) },
  { label: 'events  lost', cell: ({ lostEvents }) => String(lostEvents) },
  { label: 'events  repeated', cell: ({ repeatedEvents }) => String(repeatedEvents) },
  { label: 'events  out of order', cell: ({ outOfOrder }) => String(outOfOrder) },
  { label: 'longest gap in the feed', cell: ({ longestGapMs }) => milliseconds(longestGapMs) },
];

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

/** Returns the remark on failed writes that were in flight when their connection was lost. */
function cutOffInFlight({ failedWrites, unsafeInFlightFailed }: ContenderResult): string {
  if (unsafeInFlightFailed === 0) return '';
  const count = failedWrites === 0 ? '' : `${unsafeInFlightFailed} `;
  return `${count}cut off in flight`;
}
