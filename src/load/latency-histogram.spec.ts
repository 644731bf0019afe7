import { beforeEach, describe, expect, it } from 'vitest';
import { LatencyHistogram } from './latency-histogram.js';

describe('LatencyHistogram', () => {
  let histogram: LatencyHistogram;
  beforeEach(() => {
    histogram = new LatencyHistogram();
  });

  const withinAHundredth = (measured: number, exact: number): void => {
    expect(measured).toBeGreaterThanOrEqual(exact * 0.999);
    expect(measured).toBeLessThanOrEqual(exact * 1.011);
  };

  it('has nothing to say before the first call', () => {
    expect(histogram.percentiles()).toEqual({ p50: 0, p90: 0, p99: 0 });
  });

  it('gives the time that a share of calls did not exceed, to a hundredth', () => {
    for (let ms = 1_000; ms >= 1; ms--) histogram.add(ms);
    const { p50, p90, p99 } = histogram.percentiles();
    withinAHundredth(p50, 500);
    withinAHundredth(p90, 900);
    withinAHundredth(p99, 990);
  });

  it('sees a tail of more than a hundredth, and none of less', () => {
    for (let call = 0; call < 1_000; call++) histogram.add(call < 10 ? 1_000 : 50);
    withinAHundredth(histogram.percentiles().p99, 50);
    for (let call = 0; call < 10; call++) histogram.add(1_000);
    withinAHundredth(histogram.percentiles().p99, 1_000);
  });

  it('takes times of any size', () => {
    histogram.add(0);
    expect(histogram.percentiles().p50).toBeCloseTo(0.01, 3);
    for (let call = 0; call < 2; call++) histogram.add(10_000_000);
    withinAHundredth(histogram.percentiles().p50, 10_000_000);
  });
});
