import { beforeEach, describe, expect, it } from 'vitest';
import { LatencyHistogram } from './latency-histogram.js';

describe('LatencyHistogram', () => {
  let histogram: LatencyHistogram;
  beforeEach(() => {
    histogram = new LatencyHistogram();
  });

  const expectWithinOnePercent = (measured: number, exact: number): void => {
    expect(measured).toBeGreaterThanOrEqual(exact * (1 - 1e-9));
    expect(measured).toBeLessThanOrEqual(exact * (1.01 + 1e-9));
  };

  it('returns latency percentiles of 0 before the first call', () => {
    expect(histogram.percentiles()).toEqual({ p50: 0, p90: 0, p99: 0 });
  });

  it('returns latency percentiles with an error of at most 1%', () => {
    for (let ms = 1_000; ms >= 1; ms--) histogram.add(ms);
    const { p50, p90, p99 } = histogram.percentiles();
    expectWithinOnePercent(p50, 500);
    expectWithinOnePercent(p90, 900);
    expectWithinOnePercent(p99, 990);
  });

  it('shows a tail in the 99th latency percentile only if the tail contains more than 1% of calls', () => {
    for (let call = 0; call < 1_000; call++) histogram.add(call < 10 ? 1_000 : 50);
    expectWithinOnePercent(histogram.percentiles().p99, 50);
    for (let call = 0; call < 10; call++) histogram.add(1_000);
    expectWithinOnePercent(histogram.percentiles().p99, 1_000);
  });

  it('accepts a latency of 0 ms and a latency of 10,000,000 ms', () => {
    histogram.add(0);
    expect(histogram.percentiles().p50).toBeCloseTo(0.01, 3);
    for (let call = 0; call < 2; call++) histogram.add(10_000_000);
    expectWithinOnePercent(histogram.percentiles().p50, 10_000_000);
  });
});
