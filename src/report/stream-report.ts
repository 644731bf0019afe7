import type { FeedFigures } from '../load/feed-ledger.js';
import type { SessionFigures } from '../load/session-ledger.js';

/** The figures of one contender's feed, as `--json` prints them. */
export function feedReport(figures: FeedFigures): FeedFigures {
  const { events, lostEvents, repeatedEvents, outOfOrder, longestGapMs } = figures;
  return { events, lostEvents, repeatedEvents, outOfOrder, longestGapMs: Math.round(longestGapMs) };
}

/** The figures of one contender's session, as `--json` prints them. */
export function sessionReport({ sessionMessages, sessionLost, sessionRepeated }: SessionFigures): SessionFigures {
  return { sessionMessages, sessionLost, sessionRepeated };
}
