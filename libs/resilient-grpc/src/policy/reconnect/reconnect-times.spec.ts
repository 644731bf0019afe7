import { describe, expect, it } from 'vitest';
import { dnsRefreshDelayMs } from './reconnect-times.js';

describe('delay before the next DNS lookup', () => {
  it.each([
    // [refreshMs, failures, random, delay]
    [5_000, 0, 0, 5_000],
    [5_000, 0, 0.5, 5_500],
    [5_000, 1, 0, 10_000],
    [5_000, 2, 0, 20_000],
    [5_000, 3, 0, 30_000],
    [5_000, 1_000, 0, 30_000],
    [1_000, 4, 0, 16_000],
    [60_000, 0, 0, 60_000],
    [60_000, 1, 0, 60_000],
    [2_147_483_647, 5, 0, 2_147_483_647],
  ])(
    'maps dnsRefreshMs %i, a count of %i failed lookups, and the random number %d to a delay of %i ms',
    (refreshMs, failures, random, delayMs) => {
      expect(dnsRefreshDelayMs(refreshMs, failures, () => random)).toBeCloseTo(delayMs, 6);
    },
  );
});
