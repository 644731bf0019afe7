import { describe, expect, it } from 'vitest';
import { evenDraws, nextReadMs, NORMAL_WORK } from './work.js';

describe('nextReadMs', () => {
  const tail = { ...NORMAL_WORK, readMs: 50, slowShare: 0.015, slowFactor: 20 };

  it('returns the slow duration for the configured share of reads', () => {
    expect(nextReadMs(tail, 0, 0)).toBe(1_000);
    expect(nextReadMs(tail, 0.0149, 0.9)).toBe(1_000);
    expect(nextReadMs(tail, 0.015, 0.5)).toBe(50);
  });

  it('returns the normal duration ±10% for reads that are not slow', () => {
    expect(nextReadMs(tail, 0.9, 0)).toBe(45);
    expect(nextReadMs(tail, 0.9, 1)).toBeCloseTo(55, 9);
  });

  it('never returns the slow duration of a read for NORMAL_WORK', () => {
    expect(nextReadMs({ ...NORMAL_WORK, slowFactor: 20 }, 0, 0.5)).toBe(5);
  });
});

describe('evenDraws', () => {
  it('draws evenly distributed values in [0, 1), even in a short run', () => {
    const draw = evenDraws();
    for (let run = 0; run < 20; run++) {
      const draws = Array.from({ length: 400 }, draw);
      expect(draws.filter((one) => one < 0.015).length).toBeGreaterThanOrEqual(5);
      expect(draws.filter((one) => one < 0.015).length).toBeLessThanOrEqual(7);
      expect(draws.every((one) => one >= 0 && one < 1)).toBe(true);
    }
  });
});
