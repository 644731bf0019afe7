import { getHeapSpaceStatistics, setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { lastValueFrom, tap } from 'rxjs';
import { expect, it } from 'vitest';
import { scene } from './support.js';

const CALLS = 200;
const KiB = 1_024;
/** Bytes that the closures of each caller retain while the call runs. */
const HELD_BYTES = 64 * KiB;

function oldSpace(): number {
  return getHeapSpaceStatistics().find(({ space_name }) => space_name === 'old_space')!.space_used_size;
}

it("releases a caller's closures with minor garbage collections alone", async () => {
  setFlagsFromString('--expose-gc');
  // The cast is safe because the flag above adds `gc` to each new context.
  const collect = runInNewContext('gc') as (options?: { type: 'minor' }) => void;
  const { echo } = await scene();
  const call = async () => {
    const held = new Array<number>(HELD_BYTES / 8).fill(0.5);
    await lastValueFrom(echo.unary({}).pipe(tap(() => held.length)));
  };
  await call();
  collect();
  const before = oldSpace();
  for (let i = 0; i < CALLS; i++) await call();
  // Collects three times, because V8 promotes an object that survives two minor collections.
  for (let i = 0; i < 3; i++) collect({ type: 'minor' });
  expect(oldSpace() - before).toBeLessThan((CALLS * HELD_BYTES) / 2);
});
