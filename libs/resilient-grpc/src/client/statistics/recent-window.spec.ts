import { describe, expect, it } from 'vitest';
import { StatusCode } from '../../status/status-code.js';
import { RecentWindow } from './recent-window.js';

const SECOND = 1_000;

describe('RecentWindow', () => {
  it('covers the last 30 to 60 seconds, or its whole age if that is less', () => {
    const window = new RecentWindow(0);
    window.succeeded(undefined, 5 * SECOND);
    expect(window.calls(10 * SECOND)).toMatchObject({ windowMs: 10 * SECOND, ended: 1 });
    window.failed(StatusCode.UNAVAILABLE, 40 * SECOND);
    expect(window.calls(59 * SECOND)).toMatchObject({ windowMs: 59 * SECOND, ended: 2, failed: 1 });
    expect(window.calls(61 * SECOND)).toMatchObject({ windowMs: 31 * SECOND, ended: 1, codes: { UNAVAILABLE: 1 } });
    expect(window.calls(91 * SECOND)).toMatchObject({ windowMs: 31 * SECOND, ended: 0, failed: 0, codes: {} });
  });

  it('discards all samples after a long time without calls', () => {
    const window = new RecentWindow(0);
    for (const at of [10, 40]) {
      window.failed(StatusCode.INTERNAL, at * SECOND);
      window.answered(5, at * SECOND);
    }
    expect(window.calls(1_000 * SECOND)).toMatchObject({ ended: 0, codes: {} });
    expect(window.latency(1_000 * SECOND)).toBeUndefined();
    window.succeeded(undefined, 1_000 * SECOND);
    const { windowMs, ended } = window.calls(1_000 * SECOND);
    expect(ended).toBe(1);
    expect(windowMs).toBeGreaterThanOrEqual(30 * SECOND);
    expect(windowMs).toBeLessThan(60 * SECOND);
  });

  it('counts an invalid status code as UNKNOWN', () => {
    const window = new RecentWindow(0);
    // Safe: a server may send any number.
    window.failed(99 as StatusCode, 1);
    expect(window.calls(2).codes).toEqual({ UNKNOWN: 1 });
  });

  it('reports percentiles of both slices within 1/16 and accepts latencies outside its range', () => {
    const window = new RecentWindow(0);
    expect(window.latency(0)).toBeUndefined();
    for (let ms = 1; ms <= 100; ms++) window.answered(ms, ms % 2 === 0 ? 10 * SECOND : 40 * SECOND);
    const { p50Ms, p90Ms, p99Ms, maxMs } = window.latency(50 * SECOND)!;
    for (const [actual, expected] of [
      [p50Ms, 50],
      [p90Ms, 90],
      [p99Ms, 99],
      [maxMs, 100],
    ] as const) {
      expect(Math.abs(actual / expected - 1)).toBeLessThan(1 / 16);
    }
    window.answered(0, 50 * SECOND);
    window.answered(1e12, 50 * SECOND);
    expect(window.latency(50 * SECOND)?.maxMs).toBeGreaterThan(3_000_000);
  });
});
