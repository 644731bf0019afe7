import { expect, it } from 'vitest';
import { recordTiming } from '../support/timing.js';
import { runSequences, type Side } from './sequences.js';

/** Total number of sequences for both sides. `npm run promises` runs 10,000 with other seeds. */
const COUNT = Number(process.env['FRAME_SEQUENCES'] ?? 150);
const FIRST_SEED = Number(process.env['FRAME_SEED'] ?? 1);
const MiB = 1_024 * 1_024;
const LANES = 32;

it.for<{ side: Side; share: number }>([
  { side: 'client', share: 0.7 },
  { side: 'server', share: 0.3 },
])(
  'ends every call and completes the next one after hostile frames to the $side',
  { tags: ['timed'], timeout: 900_000 },
  async ({ side, share }, { task }) => {
    const count = Math.round(COUNT * share);
    const { findings, reports, ended, unjudged, nodeAborts, seconds } = await runSequences(side, FIRST_SEED, count);
    expect(findings).toEqual([]);
    expect(ended + unjudged.length).toBe(count);
    expect(unjudged.length).toBeLessThanOrEqual(count / 100);
    for (const { heapGrowthBytes, handles, longestLogLine, forgedLogLines } of reports) {
      expect(heapGrowthBytes).toBeLessThan(16 * MiB);
      // The margin allows for the connections of each lane and its server, and for timers.
      expect(handles[1]).toBeLessThan(handles[0] + 4 * LANES);
      expect(longestLogLine).toBeLessThan(4_096);
      expect(forgedLogLines).toBe(0);
    }
    const sum = (figure: 'sequences' | 'logLines'): number =>
      reports.reduce((total, report) => total + report[figure], 0);
    recordTiming(task, 'sequences per second', ended / seconds, { atLeast: 50 });
    recordTiming(task, 'log lines per sequence', sum('logLines') / sum('sequences'), { atMost: 2 });
    recordTiming(task, 'processes ended by an assertion of Node', nodeAborts, { atMost: 0.002 * count + 1 });
  },
);
