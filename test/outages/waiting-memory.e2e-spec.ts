import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';

const KiB = 1_024;
const MEMORY = fileURLToPath(new URL('./support/waiting-memory.mjs', import.meta.url));

interface Measured {
  readonly waiting: number;
  readonly bytes: number;
}

async function memoryOf(contender: string, settings = {}): Promise<Measured> {
  const { stdout } = await promisify(execFile)(process.execPath, [
    '--expose-gc',
    MEMORY,
    contender,
    JSON.stringify(settings),
  ]);
  return JSON.parse(stdout) as Measured;
}

it(
  'uses less than 3 KiB of memory per waiting call with a deadline, and less memory per waiting call than plain ClientGrpc',
  { timeout: 120_000 },
  async () => {
    const plain = await memoryOf('nest');
    const ours = await memoryOf('resilient-grpc', { timeoutMs: 600_000 });
    expect([plain.waiting, ours.waiting]).toEqual([4_500, 4_500]);
    expect(ours.bytes).toBeLessThan(3 * KiB);
    expect(ours.bytes).toBeLessThan(plain.bytes);
  },
);
