import { describe, expect, it } from 'vitest';
import { FeedLedger, type LoggedOrder } from './feed-ledger.js';

/** Creates a log whose orders were appended at these times, starting with sequence 1. */
const createLog = (...appendedAtMs: readonly number[]): LoggedOrder[] =>
  appendedAtMs.map((atMs, index) => ({ sequence: String(index + 1), atMs }));

describe('FeedLedger', () => {
  it('reports no loss, repeat, or disorder for a feed that was delivered completely and in order', () => {
    const ledger = new FeedLedger('1', 0);
    for (const sequence of ['2', '3', '4']) expect(ledger.accept(sequence, 50)).toBe(true);
    expect(ledger.highest).toBe(4n);
    expect(ledger.figures(createLog(0, 50, 50, 50), 60)).toEqual({
      events: 3,
      lostEvents: 0,
      repeatedEvents: 0,
      outOfOrder: 0,
      longestGapMs: 0,
    });
  });

  it('counts missing feed events as lost only if they are after the cursor', () => {
    const ledger = new FeedLedger('2', 0);
    ledger.accept('4', 10);
    expect(ledger.figures(createLog(0, 0, 0, 0, 0), 10).lostEvents).toBe(2);
  });

  it('counts each repeat of a feed event', () => {
    const ledger = new FeedLedger('0', 0);
    for (const sequence of ['1', '2']) ledger.accept(sequence, 0);
    for (const sequence of ['1', '2', '2']) expect(ledger.accept(sequence, 0)).toBe(false);
    expect(ledger.figures(createLog(0, 0), 0)).toMatchObject({
      events: 2,
      repeatedEvents: 3,
      outOfOrder: 0,
      lostEvents: 0,
    });
  });

  it('counts a feed event that follows a later one as out of order, and compares sequences as numbers', () => {
    const ledger = new FeedLedger('8', 0);
    for (const sequence of ['9', '11', '10', '12']) ledger.accept(sequence, 0);
    const places = Array.from({ length: 12 }, () => 0);
    expect(ledger.figures(createLog(...places), 0)).toMatchObject({
      events: 4,
      repeatedEvents: 0,
      outOfOrder: 1,
      lostEvents: 0,
    });
  });

  describe('the longest gap', () => {
    it('starts the longest gap of a feed when the event becomes available, if the reader was already waiting', () => {
      const ledger = new FeedLedger('0', 0);
      ledger.accept('1', 1_000);
      ledger.accept('2', 1_030);
      expect(ledger.figures(createLog(990, 1_000), 1_040).longestGapMs).toBe(30);
    });

    it('excludes the time during which the reader is busy from the longest gap of a feed', () => {
      const ledger = new FeedLedger('0', 0);
      ledger.accept('1', 10);
      ledger.startWait(500);
      ledger.accept('2', 505);
      expect(ledger.figures(createLog(10, 20), 505).longestGapMs).toBe(5);
    });

    it('does not end the longest gap of a feed at a repeated event', () => {
      const ledger = new FeedLedger('0', 0);
      ledger.accept('1', 10);
      ledger.accept('1', 200);
      ledger.accept('2', 400);
      expect(ledger.figures(createLog(10, 20), 400).longestGapMs).toBe(380);
    });

    it('starts the longest gap of a feed at the first missing event if a later one was delivered', () => {
      const ledger = new FeedLedger('0', 0);
      ledger.accept('1', 10);
      ledger.accept('3', 100);
      expect(ledger.figures(createLog(10, 40, 99), 100).longestGapMs).toBe(60);
    });

    it('extends the longest gap to the end of the measurement if the feed stopped before the end of the log', () => {
      const ledger = new FeedLedger('0', 0);
      ledger.accept('1', 10);
      expect(ledger.figures(createLog(10, 100), 700).longestGapMs).toBe(600);
      expect(ledger.figures(createLog(10), 700).longestGapMs).toBe(0);
    });
  });
});
