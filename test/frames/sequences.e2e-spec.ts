import { assert, expect, it } from 'vitest';
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
    const { findings, report } = await runSequences(side, FIRST_SEED, count);
    expect(findings.join('\n')).toBe('');
    assert(report !== undefined);
    const { sequences, heapGrowthBytes, handles, logLines, longestLogLine, forgedLogLines, seconds } = report;
    expect(sequences).toBe(count);
    expect(heapGrowthBytes).toBeLessThan(16 * MiB);
    // The margin allows for the connections of each lane and its server, and for timers.
    expect(handles[1]).toBeLessThan(handles[0] + 4 * LANES);
    expect(longestLogLine).toBeLessThan(4_096);
    expect(forgedLogLines).toBe(0);
    recordTiming(task, 'sequences per second', count / seconds, { atLeast: 50 });
    recordTiming(task, 'log lines per sequence', logLines / count, { atMost: 2 });
  },
);
