import { describe, expect, it } from 'vitest';
import { breaksOf } from './judge.js';
import { runSchedule } from './run-schedule.js';
import { drawSchedule } from './schedule.js';

describe('clients beside plain Nest', () => {
  // `npm run promises -- versus` judges times, too, at 50 calls per second.
  it.concurrent.each([8, 15, 24])(
    'fail no more calls in the faults of seed %i, and write nothing twice',
    async (seed) => {
      const run = await runSchedule(drawSchedule(seed, { seconds: 20, rate: 10 }));
      const endedBefore = run.ended.theirs.filter(({ endMs }) => endMs < (run.spans[0]?.fromMs ?? 0));
      // OK, or DEADLINE_EXCEEDED on a busy machine.
      expect(endedBefore.filter(({ code }) => code !== 0 && code !== 4)).toEqual([]);
      expect(breaksOf(run, false), JSON.stringify(run.connections)).toEqual([]);
    },
  );
});
