import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RecentLatencies } from './recent-latencies.js';

const HALF_LIFE_MS = 1_000;

function createLatencies(minWeight = 0): RecentLatencies {
  return new RecentLatencies(HALF_LIFE_MS, minWeight);
}

describe('RecentLatencies', () => {
  it('returns a latency percentile of 0 if no latency was recorded', () => {
    expect(createLatencies().percentile(95)).toBe(0);
  });

  it('rounds a latency percentile up by at most 4.4%', () => {
    const values = fc.array(fc.double({ min: 0.07, max: 3_000_000, noNaN: true }), { minLength: 1, maxLength: 200 });
    fc.assert(
      fc.property(values, fc.constantFrom(50, 90, 95, 99), (all, share) => {
        const recent = createLatencies();
        for (const ms of all) recent.record(ms, 0);
        const sorted = [...all].sort((a, b) => a - b);
        const exact = sorted[Math.ceil((share / 100) * sorted.length - 1e-9) - 1]!;
        expect(recent.percentile(share)).toBeGreaterThanOrEqual(exact * (1 - 1e-9));
        expect(recent.percentile(share)).toBeLessThanOrEqual(exact * 1.0443);
      }),
    );
  });

  it.each([
    [0, 0.0653],
    [0.001, 0.0653],
    [10_000_000, 4_194_304],
  ])('records a latency of %d ms, which is outside the range of the histogram, as %d ms', (ms, expected) => {
    const recent = createLatencies();
    recent.record(ms, 0);
    expect(recent.percentile(50)).toBeCloseTo(expected, 4);
  });

  it('halves the weight of a recorded latency after its half-life', () => {
    const recent = createLatencies();
    for (let i = 0; i < 8; i++) recent.record(10, 0);
    recent.record(10, HALF_LIFE_MS);
    expect(recent.weight).toBeCloseTo(5, 9);
    recent.record(10, 3 * HALF_LIFE_MS);
    expect(recent.weight).toBeCloseTo(5 / 4 + 1, 9);
  });

  it('weights old latencies less than newer ones in percentiles', () => {
    const recent = createLatencies();
    for (let i = 0; i < 100; i++) recent.record(100, 0);
    for (let i = 0; i < 100; i++) recent.record(10, 5 * HALF_LIFE_MS);
    expect(recent.percentile(95)).toBeLessThan(11);
  });

  it('ages old latencies only down to the minimum total weight, so that they count until enough newer ones are recorded', () => {
    const recent = createLatencies(20);
    for (let i = 0; i < 100; i++) recent.record(100, 0);
    recent.record(10, 1_000 * HALF_LIFE_MS);
    expect(recent.weight).toBeCloseTo(21, 9);
    expect(recent.percentile(50)).toBeGreaterThan(99);
    for (let i = 1; i <= 20; i++) recent.record(10, (1_000 + i) * HALF_LIFE_MS);
    expect(recent.weight).toBeLessThan(22);
    expect(recent.percentile(50)).toBeLessThan(11);
  });

  it('keeps the precision of latency weights and percentiles for 15,000 half-lives', () => {
    const recent = createLatencies(20);
    for (let i = 0; i < 5_000; i++) recent.record(i < 4_000 ? 100 : 10, i * HALF_LIFE_MS * 3);
    expect(recent.weight).toBeCloseTo(21, 6);
    expect(recent.percentile(99)).toBeLessThan(11);
  });
});
