import { describe, expect, it } from 'vitest';
import { codeBlocks } from '../docs/markdown.js';
import {
  demo,
  DEMO_LIMIT,
  FEED_FIGURES,
  type FeedFigures,
  figuresOf,
  play,
  type SessionFigures,
} from '../support/demo-run.js';
import { recordTiming } from '../support/timing.js';

const OURS = /^(LOG|WARN|ERROR) +\[ResilientGrpc(:orders)?\]/;
/** A line without what is different each time. */
const form = (line: string) => line.replaceAll(/\d+(\.\d+)?/g, '#');

// Two that mostly wait, at once.
describe('the demo in a terminal, for longer', DEMO_LIMIT, () => {
  it.concurrent('hands over each event of a feed once and in order through all that ends streams', async () => {
    const { plain, tuned, resilient } = await figuresOf<FeedFigures & SessionFigures>('feed', 15);
    expect(resilient).toMatchObject({ lostEvents: 0, repeatedEvents: 0, outOfOrder: 0, sessionLost: 0 });
    for (const figures of [plain, tuned, resilient]) {
      expect(figures).toEqual({
        ...FEED_FIGURES,
        sessionMessages: expect.any(Number),
        sessionLost: expect.any(Number),
        sessionRepeated: expect.any(Number),
      });
      expect(figures.events + figures.lostEvents).toBe(resilient.events);
      // 50 a second: what the server does takes none away.
      expect(figures.sessionMessages).toBeGreaterThan(15 * 49);
    }
    expect(resilient.events).toBeGreaterThan(resilient.sessionMessages);
    // The faults were there: who begins again from the beginning is handed the same again, who sends without a ledger loses some.
    expect(plain.repeatedEvents).toBeGreaterThan(0);
    expect(plain.sessionLost).toBeGreaterThan(0);
  });

  it.concurrent(
    'replaces a connection that leads nowhere, by one that was ready before',
    { tags: ['timed'] },
    async ({ task }) => {
      // On a busy machine the connection is suspected later: the process's own delay does not count.
      const { plain, resilient } = await play('blackhole', 45);
      expect(plain.connectionsReplaced).toBe(0);
      expect(plain.recoveryMs).toBeGreaterThan(20_000);
      expect(resilient).toMatchObject({ connectionsReplaced: 1, timesAway: 0 });
      // The plain client does not recover: its figure is the time until the end.
      expect(resilient.recoveryMs).toBeLessThan(plain.recoveryMs);
      recordTiming(task, 'first success after the connection went silent, ms', resilient.recoveryMs, {
        atMost: 20_000,
      });
    },
  );

  // By itself: a third demo beside the two would be one too many for two cores.
  it('logs a server that was killed in no more than six lines, as docs/logs.md shows them', async () => {
    const { stdout } = await demo('--scenario', 'restart', '--seconds', '30');
    const lines = stdout.split('\n').filter((line) => OURS.test(line));
    expect(lines.length).toBeLessThanOrEqual(6);
    const shown = codeBlocks('docs/logs.md')[0]!
      .text.split('\n')
      .filter((line) => OURS.test(line));
    // A write may have been in flight, or not.
    const inFlight = (line: string) => line.includes('it may have reached the server');
    const told = lines.filter((line) => !inFlight(line)).map(form);
    expect(told).toEqual(shown.filter((line) => !inFlight(line)).map(form));
    expect(shown.filter(inFlight)).toHaveLength(1);
    for (const line of lines.filter(inFlight))
      expect(line).toMatch(/^WARN \[ResilientGrpc:orders\] \/orders\.v1\.Orders\/Create at /);
  });
});
