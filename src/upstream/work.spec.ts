import { describe, expect, it } from 'vitest';
import { nextReadMs, NORMAL_WORK } from './work.js';

describe('nextReadMs', () => {
  const tail = { ...NORMAL_WORK, readMs: 50, slowShare: 0.015, slowFactor: 20 };
  const drawing = (...values: readonly number[]) => {
    const left = [...values];
    return () => left.shift()!;
  };

  it('is that of the tail for its share of reads', () => {
    expect(nextReadMs(tail, drawing(0))).toBe(1_000);
    expect(nextReadMs(tail, drawing(0.0149))).toBe(1_000);
    expect(nextReadMs(tail, drawing(0.015, 0.5))).toBe(50);
  });

  it('is the usual one, give or take a tenth, for all others', () => {
    expect(nextReadMs(tail, drawing(0.9, 0))).toBe(45);
    expect(nextReadMs(tail, drawing(0.9, 1))).toBeCloseTo(55, 9);
  });

  it('has no tail when all is well', () => {
    expect(nextReadMs(NORMAL_WORK, drawing(0, 0.5))).toBe(5);
  });
});
