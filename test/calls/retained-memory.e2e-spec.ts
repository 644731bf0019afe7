import { getHeapSpaceStatistics, setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { lastValueFrom, tap } from 'rxjs';
import { expect, it } from 'vitest';
import { scene } from './support.js';

const CALLS = 200;
const KiB = 1_024;
/** What the functions of each caller have in their hands while his call runs. */
const HELD = 64 * KiB;

function oldSpace(): number {
  return getHeapSpaceStatistics().find(({ space_name }) => space_name === 'old_space')!.space_used_size;
}

it('what the functions of a caller hold while his call runs does not wait for a major garbage collection', async () => {
  setFlagsFromString('--expose-gc');
  // True: the flag above gives each new context a `gc`.
  const collect = runInNewContext('gc') as (options?: { type: 'minor' }) => void;
  const { echo } = await scene();
  const call = async () => {
    const held = new Array<number>(HELD / 8).fill(0.5);
    await lastValueFrom(echo.unary({}).pipe(tap(() => held.length)));
  };
  await call();
  collect();
  const before = oldSpace();
  for (let i = 0; i < CALLS; i++) await call();
  // What survives two of them is taken for old.
  for (let i = 0; i < 3; i++) collect({ type: 'minor' });
  expect(oldSpace() - before).toBeLessThan((CALLS * HELD) / 2);
});
