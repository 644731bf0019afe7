import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LoadBaseline } from './load-baseline.js';

/** Starts `perSecond` calls a second from `from` to `until`. */
function call(load: LoadBaseline, perSecond: number, from: number, until: number): void {
  for (let now = from; now < until; now += 1_000 / perSecond) load.callStarted(now);
}

describe('LoadBaseline', () => {
  it('knows nothing before the first call', () => {
    const load = new LoadBaseline(0);
    expect(load.callsPerSecond(500)).toBe(0);
    expect(load.medianMs).toBe(0);
  });

  it('counts calls per second over ten seconds', () => {
    const load = new LoadBaseline(0);
    call(load, 200, 0, 30_000);
    expect(load.callsPerSecond(30_000)).toBeCloseTo(200, -1);
  });

  it('does not take the first moment of a client for its rate', () => {
    const load = new LoadBaseline(0);
    call(load, 200, 0, 100);
    expect(load.callsPerSecond(100)).toBe(20);
  });

  it('forgets what is older than ten seconds', () => {
    const load = new LoadBaseline(0);
    call(load, 200, 0, 5_000);
    expect(load.callsPerSecond(9_999)).toBeCloseTo(100, -1);
    expect(load.callsPerSecond(16_000)).toBe(0);
  });

  it('counts a call in the second that it starts', () => {
    const load = new LoadBaseline(0);
    load.callStarted(999);
    load.callStarted(1_000);
    expect(load.callsPerSecond(9_999)).toBeCloseTo(0.2);
    expect(load.callsPerSecond(10_000)).toBeCloseTo(1 / 9);
    expect(load.callsPerSecond(10_999)).toBeCloseTo(0.1);
    expect(load.callsPerSecond(11_000)).toBe(0);
  });

  it('does not count an outage, in calls or in time', () => {
    const load = new LoadBaseline(0);
    call(load, 200, 0, 20_000);
    load.freeze(20_000);
    call(load, 5_000, 20_000, 28_000);
    expect(load.callsPerSecond(80_000)).toBeCloseTo(200, -1);
    load.thaw(80_000);
    expect(load.callsPerSecond(80_000)).toBeCloseTo(200, -1);
    call(load, 200, 80_000, 85_000);
    expect(load.callsPerSecond(85_000)).toBeCloseTo(200, -1);
  });

  it('stays frozen since the first of two freezes, and takes a thaw without one lightly', () => {
    const load = new LoadBaseline(0);
    call(load, 100, 0, 10_000);
    load.thaw(10_000);
    load.freeze(10_000);
    load.freeze(15_000);
    load.thaw(20_000);
    expect(load.callsPerSecond(20_000)).toBeCloseTo(100, -1);
  });

  it.each([
    ['fast', 0.4],
    ['ordinary', 12],
    ['slow', 4_000],
  ])('finds the median of %s answers', (_, median) => {
    const load = new LoadBaseline(0);
    const random = fc.sample(fc.integer({ min: 0, max: 99 }), { numRuns: 3_000, seed: 1 });
    load.answered(30);
    for (const n of random) load.answered(median * (n < 50 ? 0.7 : n < 95 ? 1.3 : 20));
    expect(load.medianMs).toBeGreaterThan(median * 0.65);
    expect(load.medianMs).toBeLessThan(median * 1.4);
  });

  it('gives numbers of 0 or more, whatever it is told', () => {
    const step = fc.record({
      elapsed: fc.nat(60_000),
      what: fc.constantFrom('call', 'answer', 'freeze', 'thaw'),
      latency: fc.double({ min: 0, max: 1e6, noNaN: true }),
    });
    fc.assert(
      fc.property(fc.array(step), (steps) => {
        const load = new LoadBaseline(0);
        let now = 0;
        for (const { elapsed, what, latency } of steps) {
          now += elapsed;
          if (what === 'call') load.callStarted(now);
          else if (what === 'answer') load.answered(latency);
          else if (what === 'freeze') load.freeze(now);
          else load.thaw(now);
        }
        expect(load.callsPerSecond(now)).toBeGreaterThanOrEqual(0);
        expect(load.callsPerSecond(now)).toBeLessThanOrEqual(steps.length);
        expect(load.medianMs).toBeGreaterThanOrEqual(0);
        expect(Number.isFinite(load.medianMs)).toBe(true);
      }),
    );
  });
});

describe('after an outage', () => {
  it('counts calls anew, at the pace they have then', () => {
    const load = new LoadBaseline(0);
    call(load, 100, 0, 20_000);
    load.freeze(20_000);
    load.thaw(50_000);
    call(load, 300, 50_000, 62_000);
    expect(load.callsPerSecond(62_000)).toBeCloseTo(300, -1);
  });

  it('of a young client the time of the outage is no time it lived', () => {
    const load = new LoadBaseline(0);
    call(load, 100, 0, 4_000);
    load.freeze(4_000);
    load.thaw(100_000);
    expect(load.callsPerSecond(100_000)).toBeCloseTo(100, -1);
    call(load, 100, 100_000, 102_000);
    expect(load.callsPerSecond(102_000)).toBeCloseTo(100, -1);
  });
});

describe('a clock that does not begin at 0', () => {
  it('changes nothing', () => {
    const load = new LoadBaseline(1_000_000);
    call(load, 200, 1_000_000, 1_003_000);
    expect(load.callsPerSecond(1_003_000)).toBeCloseTo(200, -1);
    call(load, 200, 1_003_000, 1_030_000);
    expect(load.callsPerSecond(1_030_000)).toBeCloseTo(200, -1);
  });
});

describe('the median', () => {
  it('is the first answer at first, and moves by 5 % towards the next', () => {
    const load = new LoadBaseline(0);
    load.answered(100);
    expect(load.medianMs).toBe(100);
    load.answered(1_000);
    expect(load.medianMs).toBeCloseTo(105);
    load.answered(1);
    expect(load.medianMs).toBeCloseTo(100);
    load.answered(load.medianMs);
    expect(load.medianMs).toBeCloseTo(100);
  });

  it('moves by 1 % after a hundred answers', () => {
    const load = new LoadBaseline(0);
    for (let i = 0; i < 100; i++) load.answered(100);
    load.answered(1_000);
    expect(load.medianMs).toBeCloseTo(101);
  });

  it('is not stuck at 0', () => {
    const load = new LoadBaseline(0);
    load.answered(0);
    expect(load.medianMs).toBeGreaterThan(0);
    for (let i = 0; i < 1_000; i++) load.answered(5);
    expect(load.medianMs).toBeCloseTo(5, 0);
  });
});
