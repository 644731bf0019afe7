import type { FeedFigures } from '../load/feed-ledger.js';
import type { SessionFigures } from '../load/session-ledger.js';

/** Returns the figures of one contender's feed for the output of `--json`. */
export function feedReport(figures: FeedFigures): FeedFigures {
  const { events, lostEvents, repeatedEvents, outOfOrder, longestGapMs } = figures;
  return { events, lostEvents, repeatedEvents, outOfOrder, longestGapMs: Math.round(longestGapMs) };
}

/** Returns the figures of one contender's session for the output of `--json`. */
export function sessionReport({ sessionMessages, sessionLost, sessionRepeated }: SessionFigures): SessionFigures {
  return { sessionMessages, sessionLost, sessionRepeated };
}
