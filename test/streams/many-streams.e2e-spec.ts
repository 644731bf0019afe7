import { describe, expect, it } from 'vitest';
import { measureManyStreams } from '../../bench/memory/measure.mjs';

const STREAMS = 1_000;
const KiB = 1_024;

describe('a thousand streams at once', () => {
  // In a process for the client and one for the server, each of which must end by itself afterwards.
  it.each([
    ['the server ends them', 'end', { completed: STREAMS, failed: 0 }, 0],
    ['their readers leave', 'cancel', { completed: 0, failed: 0 }, STREAMS],
    ['the client is drained', 'drain', { completed: 0, failed: STREAMS }, STREAMS],
    ['the client is closed', 'close', { completed: 0, failed: STREAMS }, STREAMS],
  ] as const)(
    'are open, counted and read, and leave nothing when %s',
    { timeout: 60_000 },
    async (_who, ending, left, cancelled) => {
      const measured = await measureManyStreams(STREAMS, ending);
      expect(measured.active).toBe(STREAMS);
      expect(measured.left).toEqual({ received: STREAMS, open: 0, ...left });
      expect(measured.server).toEqual({ open: 0, cancelled });
      expect(measured.open).toEqual([]);
      expect(measured.endMs).toBeLessThan(5_000);
      // About 9 KiB each while they are open; afterwards what was compiled and cached on the way.
      expect(measured.growth.client.heap / STREAMS).toBeLessThan(16 * KiB);
      expect(measured.kept.client.heap).toBeLessThan(2_048 * KiB);
    },
  );
});
