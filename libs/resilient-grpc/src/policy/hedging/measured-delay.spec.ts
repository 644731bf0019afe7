import { describe, expect, it } from 'vitest';
import { seededRandom } from '../../../../../test/unit-support/seeded-random.mjs';
import { MeasuredDelay, type HedgingPercentile, RecentLatencies } from './measured-delay.js';
import fc from 'fast-check';

/** Records `attempts` latencies, spread evenly from 1% to 100% of `maxMs`, in a fixed mixed order. */
function spread(delay: MeasuredDelay, attempts: number, maxMs: number, now = 0): MeasuredDelay {
  for (let i = 0; i < attempts; i++) delay.answered((((i * 37) % 100) + 1) * (maxMs / 100), now);
  return delay;
}

describe('MeasuredDelay', () => {
  it.each<[HedgingPercentile, number, number]>([
    ['p90', 50, 900],
    ['p95', 100, 950],
    ['p99', 500, 990],
  ])('sets the hedging delay to the %s of the latencies after %i attempts', (percentile, attempts, expectedMs) => {
    const delay = spread(new MeasuredDelay(percentile), attempts - 1, 1_000);
    expect(delay.currentMs).toBe(Infinity);
    spread(delay, 1, 1_000);
    spread(delay, 1_600, 1_000);
    expect(delay.currentMs / expectedMs).toBeGreaterThanOrEqual(1);
    expect(delay.currentMs / expectedMs).toBeLessThan(1.045);
  });

  it('never returns a hedging delay below 5 ms', () => {
    expect(spread(new MeasuredDelay('p95'), 200, 1).currentMs).toBe(5);
  });

  it('returns a hedging delay no shorter than a constant latency, so that no call is hedged', () => {
    const delay = new MeasuredDelay('p95');
    for (let i = 0; i < 200; i++) delay.answered(50, 0);
    expect(delay.currentMs).toBeGreaterThanOrEqual(50);
    expect(delay.currentMs).toBeLessThan(52.3);
  });

  it('adapts the hedging delay within a minute to latencies that triple, and within two minutes to latencies that fall again', () => {
    const delay = spread(new MeasuredDelay('p95'), 1_000, 100);
    for (let second = 1; second <= 60; second++) spread(delay, 20, 300, second * 1_000);
    expect(delay.currentMs).toBeGreaterThan(250);
    for (let second = 61; second <= 180; second++) spread(delay, 20, 100, second * 1_000);
    expect(delay.currentMs).toBeLessThan(110);
  });

  it('does not count an attempt toward the hedging delay if the attempt failed or was cancelled before that delay', () => {
    const delay = spread(new MeasuredDelay('p95'), 100, 100);
    const before = delay.currentMs;
    for (let i = 0; i < 1_000; i++) delay.unanswered(1, 0);
    spread(delay, 16, 100);
    expect(delay.currentMs).toBe(before);
  });

  it('counts an attempt toward the hedging delay if the attempt took longer than that delay, regardless of the result', () => {
    const delay = spread(new MeasuredDelay('p95'), 100, 100);
    for (let i = 0; i < 100; i++) delay.unanswered(200, 0);
    expect(delay.currentMs).toBeGreaterThan(199);
  });

  it.each([
    ['keeps the hedging delay if attempts that lose to a hedge are recorded with their age', true, 0.9, 1.1],
    ['decreases the hedging delay if attempts that lose to a hedge do not count', false, 0, 0.88],
  ])('%s', (_, counted, min, max) => {
    const random = seededRandom(3);
    const delay = new MeasuredDelay('p95');
    const latency = () => -Math.log(1 - random()) * 100;
    const p95 = -Math.log(0.05) * 100;
    for (let i = 0; i < 20_000; i++) {
      const ms = latency();
      const now = i * 20;
      // Each attempt that exceeds the delay is hedged, and loses if the hedge responds first.
      const hedgedMs = delay.currentMs + latency();
      if (ms <= hedgedMs) delay.answered(ms, now);
      else if (counted) delay.unanswered(hedgedMs, now);
    }
    expect(delay.currentMs / p95).toBeGreaterThan(min);
    expect(delay.currentMs / p95).toBeLessThan(max);
  });
});

const HALF_LIFE_MS = 15_000;

function createLatencies(minWeight = 0): RecentLatencies {
  return new RecentLatencies(minWeight);
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
