import { expect, it } from 'vitest';
import { inOneLine } from './judge.js';
import { missingPython } from './kinds.js';
import { playSituation } from './play.js';
import type { Situation } from './situation.js';

/** Plays `situation` short, and expects its promise to hold. SCENARIO_SEED plays it once more as it went. */
export function itHolds(situation: Situation): void {
  it(situation.promise, { timeout: 60_000 }, async () => {
    const seed = Number(process.env['SCENARIO_SEED'] ?? Math.trunc(Math.random() * 2 ** 31));
    if (missingPython !== undefined) console.log(missingPython);
    const say = (line: string) => {
      console.log(`${situation.name}: ${line}`);
    };
    const { measured, broken, seconds } = await playSituation(situation, { length: 'short', seed, say });
    console.log(`${inOneLine(situation, measured, 'short')} (${seconds.toFixed(1)} s, seed ${seed})`);
    expect(broken).toEqual([]);
  });
}
