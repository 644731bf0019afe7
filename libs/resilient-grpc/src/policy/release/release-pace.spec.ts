import { describe, expect, it } from 'vitest';
import { ReleasePace } from './release-pace.js';

const USUAL = { now: 0, usualCallsPerSecond: 200, usualLatencyMs: 10 };

/** Takes every `tickMs` until `untilMs`, with answers of `latencyMs` at once or never; gives what was released. */
function run(pace: ReleasePace, from: number, until: number, latencyMs: number | undefined): number {
  let released = 0;
  for (let now = from; now < until; now += 10) {
    const taken = pace.take(now);
    released += taken;
    if (latencyMs !== undefined) for (let i = 0; i < taken; i++) pace.answered(latencyMs, now);
  }
  return released;
}

describe('ReleasePace', () => {
  it('lets the first call out at once, and the next one at its pace', () => {
    const pace = new ReleasePace(USUAL);
    expect(pace.take(0)).toBe(1);
    expect(pace.take(0)).toBe(0);
    expect(pace.msUntilNext(0)).toBe(20);
    expect(pace.take(19)).toBe(0);
    expect(pace.take(20)).toBe(1);
  });

  it('starts at a quarter of the usual rate', () => {
    expect(new ReleasePace(USUAL).callsPerSecond).toBe(50);
  });

  it('starts at 10 a second where the usual rate is low or unknown', () => {
    expect(new ReleasePace({ ...USUAL, usualCallsPerSecond: 0 }).callsPerSecond).toBe(10);
    expect(new ReleasePace({ ...USUAL, usualCallsPerSecond: 39 }).callsPerSecond).toBe(10);
  });

  it('grows by a quarter each 100 ms while calls are answered as usual', () => {
    const pace = new ReleasePace(USUAL);
    run(pace, 0, 301, 10);
    expect(pace.callsPerSecond).toBeCloseTo(50 * 1.25 ** 3);
  });

  it('does not grow while released calls are out and none has come back', () => {
    const pace = new ReleasePace(USUAL);
    run(pace, 0, 2_000, undefined);
    expect(pace.callsPerSecond).toBe(50);
  });

  it('grows again when nothing is out any more', () => {
    const pace = new ReleasePace(USUAL);
    pace.take(0, 0);
    pace.take(100, 0);
    expect(pace.callsPerSecond).toBeCloseTo(62.5);
  });

  it('halves at most each 300 ms while calls are answered slowly, and goes on at its start at least', () => {
    const pace = new ReleasePace(USUAL);
    run(pace, 0, 601, 1);
    const grown = pace.callsPerSecond;
    run(pace, 610, 701, 41);
    expect(pace.callsPerSecond).toBeCloseTo(grown / 2);
    run(pace, 710, 900, 41);
    expect(pace.callsPerSecond).toBeCloseTo(grown / 2);
    run(pace, 900, 60_000, 41);
    expect(pace.callsPerSecond).toBe(50);
  });

  it('goes down to a quarter of its start while calls fail', () => {
    const pace = new ReleasePace(USUAL);
    for (let now = 0; now < 5_000; now += 10) {
      pace.take(now);
      pace.failed(now);
    }
    expect(pace.callsPerSecond).toBe(12.5);
  });

  it('does not slow down for answers that came while this process itself was late', () => {
    const pace = new ReleasePace(USUAL);
    run(pace, 0, 601, 1);
    const grown = pace.callsPerSecond;
    pace.excuse(601);
    run(pace, 610, 701, 41);
    expect(pace.callsPerSecond).toBeGreaterThanOrEqual(grown);
  });

  it('takes twice the usual median and 20 ms for usual', () => {
    const pace = new ReleasePace(USUAL);
    run(pace, 0, 101, 40);
    expect(pace.callsPerSecond).toBeGreaterThan(50);
  });

  it('takes a failure for a slow answer', () => {
    const pace = new ReleasePace(USUAL);
    pace.take(0);
    pace.failed(1);
    pace.take(100);
    expect(pace.callsPerSecond).toBe(25);
  });

  it('is not slowed down by a tail of less than a quarter', () => {
    const pace = new ReleasePace(USUAL);
    pace.take(0);
    for (let i = 0; i < 8; i++) pace.answered(i < 2 ? 500 : 10, 50);
    pace.take(100);
    expect(pace.callsPerSecond).toBeGreaterThan(50);
  });

  it('learns from the first answer what is usual where nothing is known', () => {
    const pace = new ReleasePace({ ...USUAL, usualLatencyMs: 0 });
    run(pace, 0, 101, 400);
    expect(pace.callsPerSecond).toBeGreaterThan(50);
  });

  it('counts as released only what was waiting', () => {
    const pace = new ReleasePace(USUAL);
    run(pace, 0, 1_000, 10);
    expect(pace.take(1_100, 2)).toBe(2);
    expect(pace.take(1_100, 0)).toBe(0);
  });

  it('does not make up for time in which the process slept', () => {
    const pace = new ReleasePace(USUAL);
    expect(pace.take(0)).toBe(1);
    expect(pace.take(60_000)).toBeLessThanOrEqual(8);
    expect(pace.callsPerSecond).toBeLessThanOrEqual(50 * 1.25 ** 2);
  });
});
