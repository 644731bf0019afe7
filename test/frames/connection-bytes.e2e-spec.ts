import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { recordTiming } from '../support/timing.js';
import { CALLS, eventsOf, runMutation, runSequence } from './connection-bytes.js';
import { Dice } from './dice.js';
import { SERVED } from './server-bytes.js';

/** Numbers of recordings and of sequences. `npm run promises` runs 1,000,000 and 100,000 with other seeds. */
const MUTATIONS = Number(process.env['FRAME_MUTATIONS'] ?? 100_000);
const SEQUENCES = Number(process.env['FRAME_CORE_SEQUENCES'] ?? 1_000);
const SEED = Number(process.env['FRAME_SEED'] ?? 1);
const MiB = 1_024 * 1_024;
/** Memory that V8 may not have released yet. */
const MAX_GROWTH_BYTES = 128 * MiB;

// Most recordings end in an error, and its stack would take a third of the time.
const { stackTraceLimit } = Error;
beforeAll(() => {
  Error.stackTraceLimit = 0;
});
afterAll(() => {
  Error.stackTraceLimit = stackTraceLimit;
});

/** Runs `run` with `count` seeds. Returns what is wrong, the growth of the memory, and the number of runs per second. */
function runAll(count: number, run: (dice: Dice, seed: number) => string | undefined) {
  const problems: string[] = [];
  const [startedAt, before] = [performance.now(), process.memoryUsage()];
  for (let seed = SEED; seed < SEED + count && problems.length < 10; seed++) {
    const problem = run(new Dice(seed), seed);
    if (problem !== undefined) problems.push(`seed ${String(seed)}: ${problem}`);
  }
  const { heapUsed, external } = process.memoryUsage();
  const grown = heapUsed + external - before.heapUsed - before.external;
  return { problems, grown, perSecond: count / ((performance.now() - startedAt) / 1_000) };
}

describe.each([
  { side: 'client', kind: CALLS },
  { side: 'server', kind: SERVED },
])('the connection of a $side', ({ side, kind }) => {
  it('reports the same events however the bytes of its peer are cut', () => {
    for (const recording of kind.recordings) {
      const whole = eventsOf(kind, new Dice(0), recording, 0);
      expect(whole.flat().filter((event) => event.startsWith('end'))).toHaveLength(kind.ends);
      for (let seed = SEED; seed < SEED + 1_000; seed++)
        expect(eventsOf(kind, new Dice(seed), recording, seed % 40)).toEqual(whole);
    }
  });

  it(
    'ends each call once, throws nothing, and holds little memory, whatever bytes of its peer are changed',
    { tags: ['timed'], timeout: 1_800_000 },
    ({ task }) => {
      const { problems, grown, perSecond } = runAll(MUTATIONS, (dice) => runMutation(kind, dice));
      expect(problems.join('\n')).toBe('');
      expect(grown).toBeLessThan(MAX_GROWTH_BYTES);
      recordTiming(task, `changed recordings per second (${side})`, perSecond, { atLeast: 2_000 });
    },
  );

  it(
    'ends each call once, throws nothing, and holds little memory, whatever frames its peer sends',
    { tags: ['timed'], timeout: 1_800_000 },
    ({ task }) => {
      const { problems, grown, perSecond } = runAll(SEQUENCES, (dice, seed) => runSequence(kind, dice, seed));
      expect(problems.join('\n')).toBe('');
      expect(grown).toBeLessThan(MAX_GROWTH_BYTES);
      recordTiming(task, `hostile sequences per second (${side})`, perSecond, { atLeast: 200 });
    },
  );
});
