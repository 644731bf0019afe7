import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { backoffMs, DEFAULT_RETRY_POLICY } from './retry-policy.js';

describe('backoffMs', () => {
  it('doubles the retry backoff from 100 ms to 2 s by default', () => {
    const waits = [0, 1, 2, 3, 4, 5, 6].map((index) => backoffMs(DEFAULT_RETRY_POLICY, index, () => 0.5));
    expect(waits).toEqual([100, 200, 400, 800, 1_600, 2_000, 2_000]);
  });

  it('applies the jitter of ±20% after the maximum, so that even the longest retry backoff varies', () => {
    expect(backoffMs(DEFAULT_RETRY_POLICY, 9, () => 0)).toBeCloseTo(1_600);
    expect(backoffMs(DEFAULT_RETRY_POLICY, 9, () => 1)).toBeCloseTo(2_400);
  });

  it('decreases the retry backoff if the multiplier is below 1, which gRFC A6 allows', () => {
    expect(backoffMs({ ...DEFAULT_RETRY_POLICY, backoffMultiplier: 0.5 }, 2, () => 0.5)).toBe(25);
  });

  it('exceeds the maximum retry backoff by at most 20%, for any policy, number of retries, and random number', () => {
    const positive = fc.double({ min: 0.001, max: 1e9, noNaN: true });
    fc.assert(
      fc.property(
        positive,
        positive,
        fc.double({ min: 0.01, max: 100, noNaN: true }),
        fc.nat(10_000),
        fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        (initialBackoffMs, maxBackoffMs, backoffMultiplier, index, random) => {
          const ms = backoffMs({ initialBackoffMs, maxBackoffMs, backoffMultiplier }, index, () => random);
          expect(ms).toBeGreaterThanOrEqual(0);
          expect(ms).toBeLessThanOrEqual(maxBackoffMs * 1.2000001);
        },
      ),
    );
  });
});
