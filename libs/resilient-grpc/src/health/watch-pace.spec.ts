import { describe, expect, it } from 'vitest';
import { nextWatch } from './watch-pace.js';

const middle = () => 0.5;

describe('nextWatch', () => {
  it('backs off from 1 s to 30 s while the server does not respond', () => {
    const delays: number[] = [];
    let failures = 0;
    for (let round = 0; round < 10; round++) {
      const next = nextWatch({ answered: false, livedMs: 5, failures }, middle);
      delays.push(Math.round(next.delayMs));
      ({ failures } = next);
    }
    expect(delays).toEqual([1_000, 1_600, 2_560, 4_096, 6_554, 10_486, 16_777, 26_844, 30_000, 30_000]);
  });

  it('randomizes each delay by ±20 %', () => {
    expect(nextWatch({ answered: false, livedMs: 0, failures: 0 }, () => 0).delayMs).toBeCloseTo(800);
    expect(nextWatch({ answered: false, livedMs: 0, failures: 0 }, () => 1).delayMs).toBeCloseTo(1_200);
  });

  it('restarts after a short random delay if the Watch was long-lived and received a status', () => {
    expect(nextWatch({ answered: true, livedMs: 1_000, failures: 7 }, middle)).toEqual({ delayMs: 50, failures: 0 });
    expect(nextWatch({ answered: true, livedMs: 1_000, failures: 7 }, () => 0)).toEqual({ delayMs: 0, failures: 0 });
  });

  it('waits for the initial backoff each time a Watch ends right after its status', () => {
    const next = nextWatch({ answered: true, livedMs: 5, failures: 7 }, middle);
    expect(next).toEqual({ delayMs: 1_000, failures: 1 });
    expect(nextWatch({ answered: true, livedMs: 5, failures: 1 }, middle)).toEqual(next);
  });
});
