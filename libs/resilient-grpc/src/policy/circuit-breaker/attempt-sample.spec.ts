import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AttemptSample } from './attempt-sample.js';

describe('AttemptSample', () => {
  it('counts the failures and all attempts of a sample', () => {
    const sample = new AttemptSample(10_000);
    sample.add(true, 0);
    sample.add(false, 1);
    expect({ failures: sample.failures, total: sample.total }).toEqual({ failures: 1, total: 2 });
  });

  it('drops the oldest attempts from a sample each time a tenth of the sampling time has passed', () => {
    const sample = new AttemptSample(10_000);
    for (let second = 0; second < 10; second++) sample.add(true, second * 1_000);
    expect(sample.total).toBe(10);
    sample.add(true, 10_000);
    expect(sample.total).toBe(10);
    sample.add(true, 12_999);
    expect(sample.total).toBe(9);
  });

  it('drops all attempts of one tenth of the sampling time together', () => {
    const sample = new AttemptSample(10_000);
    for (const at of [0, 1, 2]) sample.add(true, at);
    sample.add(false, 5_000);
    sample.add(false, 10_000);
    expect({ failures: sample.failures, total: sample.total }).toEqual({ failures: 0, total: 2 });
  });

  it('drops all sampled attempts if no attempt follows within the sampling time', () => {
    for (const idleMs of [10_000, 10_999, 11_000, 95_000, 1e12]) {
      const sample = new AttemptSample(10_000);
      for (let i = 0; i < 50; i++) sample.add(true, 0);
      sample.add(false, idleMs);
      expect({ idleMs, failures: sample.failures, total: sample.total }).toEqual({ idleMs, failures: 0, total: 1 });
    }
  });

  it('counts sampled attempts even if the clock goes back or starts below 0', () => {
    const sample = new AttemptSample(10_000);
    sample.add(true, -4_500);
    sample.add(true, 3_000);
    sample.add(true, -9_000);
    expect(sample.total).toBe(3);
    sample.add(true, 6_000);
    expect(sample.total).toBe(3);
  });

  it('returns the same counts as a plain list for any sequence of sampled attempts', () => {
    const attempt = fc.record({ afterMs: fc.integer({ min: 0, max: 3_000 }), isFailure: fc.boolean() });
    fc.assert(
      fc.property(fc.array(attempt, { maxLength: 100 }), (attempts) => {
        const sample = new AttemptSample(1_000);
        const seen: { bucket: number; isFailure: boolean }[] = [];
        let now = 0;
        for (const { afterMs, isFailure } of attempts) {
          now += afterMs;
          sample.add(isFailure, now);
          seen.push({ bucket: Math.floor(now / 100), isFailure });
          const kept = seen.filter(({ bucket }) => bucket > Math.floor(now / 100) - 10);
          expect(sample.total).toBe(kept.length);
          expect(sample.failures).toBe(kept.filter((entry) => entry.isFailure).length);
        }
      }),
    );
  });
});
