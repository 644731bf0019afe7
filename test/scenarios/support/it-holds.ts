import { expect, it } from 'vitest';
import { skipWithout } from '../../support/programs.js';
import { brokenOf, inOneLine } from './judge.js';
import { runScenario } from './run-scenario.js';
import type { Scenario } from './scenario.js';

/**
 * Runs `scenario` at its short length and expects its promise to hold; timed bounds are not judged. To repeat a run, set the environment
 * variable SCENARIO_SEED to its seed.
 */
export function itHolds(scenario: Scenario): void {
  it(scenario.promise, { timeout: 300_000 }, async ({ skip }) => {
    skip(...skipWithout(...(scenario.needs ?? [])));
    const seed = Number(process.env['SCENARIO_SEED'] ?? Math.trunc(Math.random() * 2 ** 31));
    const lines: string[] = [];
    const report = (line: string) => void lines.push(line);
    const options = { length: 'short', which: 'counts', seed, report } as const;
    const { measured, judgments, seconds } = await runScenario(scenario, options).catch((error: unknown) => {
      const message = `${scenario.name} (seed ${seed}): ${[String(error), ...lines].join('\n  ')}`;
      throw new Error(message, { cause: error });
    });
    const figures = `${inOneLine(scenario, measured, 'short')} (${seconds.toFixed(1)} s, seed ${seed})`;
    expect(brokenOf(judgments), [figures, ...lines].join('\n  ')).toEqual([]);
  });
}
