import type { FeedFigures } from '../load/feed-ledger.js';
import type { SessionFigures } from '../load/session-ledger.js';
import type { StreamResult } from '../load/stream-comparison.js';
import { type Figure, milliseconds } from './table.js';

/** The rows for feeds. */
export const FEED_FIGURES: readonly Figure<StreamResult>[] = [
  { label: 'events  delivered', cell: ({ events }) => String(events) },
  { label: 'events  lost', cell: ({ lostEvents }) => String(lostEvents) },
  { label: 'events  repeated', cell: ({ repeatedEvents }) => String(repeatedEvents) },
  { label: 'events  out of order', cell: ({ outOfOrder }) => String(outOfOrder) },
  { label: 'longest gap in the feed', cell: ({ longestGapMs }) => milliseconds(longestGapMs) },
];

/** The rows for sessions. */
export const SESSION_FIGURES: readonly Figure<StreamResult>[] = [
  { label: 'session messages sent', cell: ({ sessionMessages }) => String(sessionMessages) },
  { label: 'session messages lost', cell: ({ sessionLost }) => String(sessionLost) },
  { label: 'session messages repeated', cell: ({ sessionRepeated }) => String(sessionRepeated) },
];

/** Returns the figures of one contender's feed for the output of `--json`. */
export function feedReport(figures: FeedFigures): FeedFigures {
  const { events, lostEvents, repeatedEvents, outOfOrder, longestGapMs } = figures;
  return { events, lostEvents, repeatedEvents, outOfOrder, longestGapMs: Math.round(longestGapMs) };
}

/** Returns the figures of one contender's session for the output of `--json`. */
export function sessionReport({ sessionMessages, sessionLost, sessionRepeated }: SessionFigures): SessionFigures {
  return { sessionMessages, sessionLost, sessionRepeated };
}
