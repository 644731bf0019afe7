import { getHeapSpaceStatistics, setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { lastValueFrom, tap } from 'rxjs';
import { expect, it, onTestFinished, vi } from 'vitest';
import { scene } from './support.js';

const CALLS = 200;
const KiB = 1_024;
/** Bytes that the closures of each caller retain while the call runs. */
const HELD_BYTES = 64 * KiB;

function oldSpace(): number {
  return getHeapSpaceStatistics().find(({ space_name }) => space_name === 'old_space')!.space_used_size;
}

it.each([
  ['runs directly on a connection', 'on', true],
  ["passes through grpc-js's channel", 'off', false],
])(
  "releases a caller's closures with minor garbage collections alone if the call %s",
  async (_path, setting, direct) => {
    vi.stubEnv('NESTJS_RESILIENT_GRPC_DIRECT_CALLS', setting);
    onTestFinished(() => void vi.unstubAllEnvs());
    setFlagsFromString('--expose-gc');
    // The cast is safe because the flag above adds `gc` to each new context.
    const collect = runInNewContext('gc') as (options?: { type: 'minor' }) => void;
    const { client, echo } = await scene();
    const call = async () => {
      const held = new Array<number>(HELD_BYTES / 8).fill(0.5);
      await lastValueFrom(echo.unary({}).pipe(tap(() => held.length)));
    };
    await call();
    expect(client.snapshot().callPath.direct).toBe(direct);
    collect();
    const before = oldSpace();
    for (let i = 0; i < CALLS; i++) await call();
    // Collects three times, because V8 promotes an object that survives two minor collections.
    for (let i = 0; i < 3; i++) collect({ type: 'minor' });
    expect(oldSpace() - before).toBeLessThan((CALLS * HELD_BYTES) / 2);
  },
);
