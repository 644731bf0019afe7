import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { waitFor } from './wait-for.js';

describe('waitFor', () => {
  it('waits for the first truthy value of a condition, returned directly or by a promise', async () => {
    let checks = 0;
    expect(await waitFor(() => (++checks < 3 ? undefined : 'here'), { intervalMs: 1 })).toBe('here');
    expect(checks).toBe(3);
    expect(await waitFor(() => Promise.resolve(5))).toBe(5);
  });

  it('checks an awaited condition at least once and describes it in the error message', async () => {
    let checks = 0;
    const never = waitFor(() => ++checks < 0, { timeoutMs: 0, describe: () => `checks to be negative (${checks})` });
    await expect(never).rejects.toThrow('Waited 0 ms for: checks to be negative (1)');
  });

  it('polls and times out in real time while a test uses fake timers', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setImmediate', 'Date', 'performance'] });
    onTestFinished(() => void vi.useRealTimers());
    let checks = 0;
    expect(await waitFor(() => ++checks === 3)).toBe(true);
    await expect(waitFor(() => false, { timeoutMs: 20 })).rejects.toThrow('Waited 20 ms for: the condition');
  });

  it('counts an awaited condition as unmet if it throws, and keeps its last error as the cause', async () => {
    const cause = new Error('not ready');
    const failing = waitFor(
      () => {
        throw cause;
      },
      { timeoutMs: 20 },
    );
    await expect(failing).rejects.toMatchObject({
      message: 'Waited 20 ms for: the condition; the last poll failed: not ready',
      cause,
    });
  });

  it('fails waitFor() after 4 s by default, before the default test timeout of Jest and Vitest', async () => {
    await expect(waitFor(() => false)).rejects.toThrow('Waited 4000 ms for: the condition');
  });
});
