import { expect, it } from 'vitest';
import { skipWithout } from '../../support/programs.js';
import { brokenOf, inOneLine } from './judge.js';
import { runSituation } from './run-situation.js';
import type { Situation } from './situation.js';

/**
 * Runs `situation` at its short length and expects its promise to hold; timed bounds are not judged. To repeat a run, set the environment
 * variable SCENARIO_SEED to its seed.
 */
export function itHolds(situation: Situation): void {
  it(situation.promise, { timeout: 300_000 }, async ({ skip }) => {
    skip(...skipWithout(...(situation.needs ?? [])));
    const seed = Number(process.env['SCENARIO_SEED'] ?? Math.trunc(Math.random() * 2 ** 31));
    const lines: string[] = [];
    const report = (line: string) => void lines.push(line);
    const options = { length: 'short', which: 'counts', seed, report } as const;
    const { measured, judgments, seconds } = await runSituation(situation, options).catch((error: unknown) => {
      const message = `${situation.name} (seed ${seed}): ${[String(error), ...lines].join('\n  ')}`;
      throw new Error(message, { cause: error });
    });
    const figures = `${inOneLine(situation, measured, 'short')} (${seconds.toFixed(1)} s, seed ${seed})`;
    expect(brokenOf(judgments), [figures, ...lines].join('\n  ')).toEqual([]);
  });
}
