import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { TimeBudget } from './time-budget.js';

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

it.each([
  [20_000, 100],
  [1_000, 100],
  [150, 15],
  [100, 10],
])('reports a limit of %i ms as used up if less than %i ms remain', (totalMs, minStepMs) => {
  const budget = new TimeBudget(totalMs);
  expect(budget.isUsedUp).toBe(false);
  vi.advanceTimersByTime(totalMs - minStepMs);
  expect(budget.isUsedUp).toBe(false);
  vi.advanceTimersByTime(1);
  expect(budget.isUsedUp).toBe(true);
});
