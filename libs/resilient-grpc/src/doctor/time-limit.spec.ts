import { expect, it, onTestFinished, vi } from 'vitest';
import { TimeLimit } from './time-limit.js';

/** Number of timers that keep the process alive. */
const timers = () => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;

it('keeps the process alive until the time limit is reached or cleared, because a caller waits for the result', () => {
  const before = timers();
  const limit = new TimeLimit(60_000);
  expect(timers()).toBe(before + 1);
  limit.clear();
  expect(timers()).toBe(before);
});

it('aborts the signal when the time limit is reached, but not after the time limit is cleared', () => {
  vi.useFakeTimers();
  onTestFinished(() => void vi.useRealTimers());
  const [limit, cleared] = [new TimeLimit(100), new TimeLimit(100)];
  cleared.clear();
  vi.advanceTimersByTime(99);
  expect(limit.signal.aborted).toBe(false);
  vi.advanceTimersByTime(1);
  expect([limit.signal.aborted, cleared.signal.aborted]).toEqual([true, false]);
});
