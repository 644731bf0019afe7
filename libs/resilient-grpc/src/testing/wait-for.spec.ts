import { describe, expect, it } from 'vitest';
import { waitFor } from './wait-for.js';

describe('waitFor', () => {
  it('resolves to the first truthy value, of promises too', async () => {
    let asked = 0;
    expect(await waitFor(() => (++asked < 3 ? undefined : 'here'), { intervalMs: 1 })).toBe('here');
    expect(asked).toBe(3);
    expect(await waitFor(() => Promise.resolve(5))).toBe(5);
  });

  it('asks at least once, and fails with what was waited for', async () => {
    let asked = 0;
    const never = waitFor(() => ++asked < 0, { timeoutMs: 0, describe: () => `a miracle (${asked})` });
    await expect(never).rejects.toThrow('Waited 0 ms for: a miracle (1)');
  });

  it('takes a condition that throws as not met yet, and gives its last error as the cause', async () => {
    const cause = new Error('not ready');
    const failing = waitFor(
      () => {
        throw cause;
      },
      { timeoutMs: 20 },
    );
    await expect(failing).rejects.toMatchObject({ message: 'Waited 20 ms for: the condition', cause });
  });
});
