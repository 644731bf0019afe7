import { expect, it, onTestFinished, vi } from 'vitest';
import { TimeLimit, within } from './time-limit.js';

it.each([
  [20_000, 100],
  [1_000, 100],
  [150, 15],
  [100, 10],
])('reports a limit of %i ms as used up if less than %i ms remain', (totalMs, minStepMs) => {
  vi.useFakeTimers();
  onTestFinished(() => void vi.useRealTimers());
  const limit = new TimeLimit(totalMs);
  expect(limit.isUsedUp).toBe(false);
  vi.advanceTimersByTime(totalMs - minStepMs);
  expect(limit.isUsedUp).toBe(false);
  vi.advanceTimersByTime(1);
  expect(limit.isUsedUp).toBe(true);
});

it('keeps the process alive until the work ends, because a caller waits for the result', async () => {
  const timers = () => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
  const before = timers();
  let resolve: (value: string) => void = () => undefined;
  const result = within(60_000, new Promise<string>((done) => (resolve = done)), 'late');
  expect(timers()).toBe(before + 1);
  resolve('in time');
  expect(await result).toBe('in time');
  expect(timers()).toBe(before);
});
