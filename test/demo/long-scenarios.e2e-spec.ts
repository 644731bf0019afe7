import { describe, expect, it } from 'vitest';
import { codeBlocks } from '../docs/markdown.js';
import {
  demo,
  DEMO_LIMIT,
  FEED_FIGURES,
  type FeedFigures,
  figuresOf,
  type SessionFigures,
} from '../support/demo-run.js';

const OURS = /^(LOG|WARN|ERROR) +\[ResilientGrpc(:orders)?\]/;
/** Replaces the numbers in a log line with '#'. */
const maskNumbers = (line: string) => line.replaceAll(/\d+(\.\d+)?/g, '#');

describe('terminal demo, long scenarios', DEMO_LIMIT, () => {
  it('delivers each feed event of the demo to our client once and in sequence, despite all faults that end streams', async () => {
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
      // The faults of the server do not stop the creation of 50 messages per second.
      expect(figures.sessionMessages).toBeGreaterThan(15 * 49);
    }
    expect(resilient.events).toBeGreaterThan(resilient.sessionMessages);
    // The figures of the plain client show that the faults occurred. This client restarts its feed at the original cursor, and loses
    // messages that are pushed while no call is open.
    expect(plain.repeatedEvents).toBeGreaterThan(0);
    expect(plain.sessionLost).toBeGreaterThan(0);
  });

  it('writes at most six log lines for our client when the demo server is killed, as docs/logs.md shows', async () => {
    const { stdout } = await demo('--scenario', 'restart', '--seconds', '30');
    const lines = stdout.split('\n').filter((line) => OURS.test(line));
    expect(lines.length).toBeLessThanOrEqual(6);
    const shown = codeBlocks('docs/logs.md')[0]!
      .text.split('\n')
      .filter((line) => OURS.test(line));
    // A write may or may not be in flight when the server is killed, so its log line is compared separately.
    const inFlight = (line: string) => line.includes('the call may have reached the server');
    const logged = lines.filter((line) => !inFlight(line)).map(maskNumbers);
    expect(logged).toEqual(shown.filter((line) => !inFlight(line)).map(maskNumbers));
    expect(shown.filter(inFlight)).toHaveLength(1);
    for (const line of lines.filter(inFlight))
      expect(line).toMatch(/^WARN \[ResilientGrpc:orders\] \/orders\.v1\.Orders\/Create at /);
  });
});
