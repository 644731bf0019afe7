import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LoadBaseline } from './load-baseline.js';

const PATH = '/orders.v1.Orders/Get';

/** Starts `perSecond` calls a second from `from` to `until`. */
function call(load: LoadBaseline, perSecond: number, from: number, until: number): void {
  for (let now = from; now < until; now += 1_000 / perSecond) load.callStarted(now);
}

describe('LoadBaseline', () => {
  it('returns a call rate and a median latency of 0 before the first call', () => {
    const load = new LoadBaseline(0);
    expect(load.callsPerSecond(500)).toBe(0);
    expect(load.usualLatency()(PATH)).toBe(0);
  });

  it('averages the call rate over ten seconds', () => {
    const load = new LoadBaseline(0);
    call(load, 200, 0, 30_000);
    expect(load.callsPerSecond(30_000)).toBeCloseTo(200, -1);
  });

  it('does not extrapolate the call rate from the first 100 ms', () => {
    const load = new LoadBaseline(0);
    call(load, 200, 0, 100);
    expect(load.callsPerSecond(100)).toBe(20);
  });

  it('counts only calls of the last ten seconds in the call rate', () => {
    const load = new LoadBaseline(0);
    call(load, 200, 0, 5_000);
    expect(load.callsPerSecond(9_999)).toBeCloseTo(100, -1);
    expect(load.callsPerSecond(16_000)).toBe(0);
  });

  it('counts a call toward the call rate in the second in which the call starts', () => {
    const load = new LoadBaseline(0);
    load.callStarted(999);
    load.callStarted(1_000);
    expect(load.callsPerSecond(9_999)).toBeCloseTo(0.2);
    expect(load.callsPerSecond(10_000)).toBeCloseTo(1 / 9);
    expect(load.callsPerSecond(10_999)).toBeCloseTo(0.1);
    expect(load.callsPerSecond(11_000)).toBe(0);
  });

  it('excludes the calls and the time of an outage from the call rate', () => {
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

  it('ignores a second freeze of the call rate, and a thaw without a freeze', () => {
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
  ])('estimates the median latency of %s responses', (_, median) => {
    const load = new LoadBaseline(0);
    const random = fc.sample(fc.integer({ min: 0, max: 99 }), { numRuns: 3_000, seed: 1 });
    load.answered(30, PATH);
    for (const n of random) load.answered(median * (n < 50 ? 0.7 : n < 95 ? 1.3 : 20), PATH);
    expect(load.usualLatency()(PATH)).toBeGreaterThan(median * 0.65);
    expect(load.usualLatency()(PATH)).toBeLessThan(median * 1.4);
  });

  it('returns a finite call rate and median latency of 0 or more for any sequence of events', () => {
    const step = fc.record({
      elapsed: fc.nat(60_000),
      kind: fc.constantFrom('call', 'answer', 'freeze', 'thaw'),
      latency: fc.double({ min: 0, max: 1e6, noNaN: true }),
    });
    fc.assert(
      fc.property(fc.array(step), (steps) => {
        const load = new LoadBaseline(0);
        let now = 0;
        for (const { elapsed, kind, latency } of steps) {
          now += elapsed;
          if (kind === 'call') load.callStarted(now);
          else if (kind === 'answer') load.answered(latency, PATH);
          else if (kind === 'freeze') load.freeze(now);
          else load.thaw(now);
        }
        expect(load.callsPerSecond(now)).toBeGreaterThanOrEqual(0);
        expect(load.callsPerSecond(now)).toBeLessThanOrEqual(steps.length);
        expect(load.usualLatency()(PATH)).toBeGreaterThanOrEqual(0);
        expect(Number.isFinite(load.usualLatency()(PATH))).toBe(true);
      }),
    );
  });
});

describe('LoadBaseline after an outage', () => {
  it('measures the new call rate after an outage', () => {
    const load = new LoadBaseline(0);
    call(load, 100, 0, 20_000);
    load.freeze(20_000);
    load.thaw(50_000);
    call(load, 300, 50_000, 62_000);
    expect(load.callsPerSecond(62_000)).toBeCloseTo(300, -1);
  });

  it('excludes an outage from the time over which the call rate of a new client is averaged', () => {
    const load = new LoadBaseline(0);
    call(load, 100, 0, 4_000);
    load.freeze(4_000);
    load.thaw(100_000);
    expect(load.callsPerSecond(100_000)).toBeCloseTo(100, -1);
    call(load, 100, 100_000, 102_000);
    expect(load.callsPerSecond(102_000)).toBeCloseTo(100, -1);
  });
});

describe('LoadBaseline with a clock that does not start at 0', () => {
  it('measures the same call rate if the clock does not start at 0', () => {
    const load = new LoadBaseline(1_000_000);
    call(load, 200, 1_000_000, 1_003_000);
    expect(load.callsPerSecond(1_003_000)).toBeCloseTo(200, -1);
    call(load, 200, 1_003_000, 1_030_000);
    expect(load.callsPerSecond(1_030_000)).toBeCloseTo(200, -1);
  });
});

describe('LoadBaseline.usualLatency()', () => {
  it('starts the median latency at the first latency, then raises or lowers it by 5% for each of the next 99 latencies', () => {
    const load = new LoadBaseline(0);
    load.answered(100, PATH);
    expect(load.usualLatency()(PATH)).toBe(100);
    load.answered(1_000, PATH);
    expect(load.usualLatency()(PATH)).toBeCloseTo(105);
    load.answered(1, PATH);
    expect(load.usualLatency()(PATH)).toBeCloseTo(100);
    load.answered(load.usualLatency()(PATH), PATH);
    expect(load.usualLatency()(PATH)).toBeCloseTo(100);
  });

  it('moves the median latency by only 1% per response after a hundred responses', () => {
    const load = new LoadBaseline(0);
    for (let i = 0; i < 100; i++) load.answered(100, PATH);
    load.answered(1_000, PATH);
    expect(load.usualLatency()(PATH)).toBeCloseTo(101);
  });

  it('raises the median latency again after a latency of 0', () => {
    const load = new LoadBaseline(0);
    load.answered(0, PATH);
    expect(load.usualLatency()(PATH)).toBeGreaterThan(0);
    for (let i = 0; i < 1_000; i++) load.answered(5, PATH);
    expect(load.usualLatency()(PATH)).toBeCloseTo(5, 0);
  });
});

describe('LoadBaseline.usualLatency() of several methods', () => {
  it('measures each method separately, and returns the latencies at the time of the usualLatency() call', () => {
    const load = new LoadBaseline(0);
    for (let i = 0; i < 300; i++) {
      load.answered(1, '/a.B/Fast');
      load.answered(300, '/a.B/Slow');
      load.answered(2, '/a.B/Other');
    }
    const usualLatency = load.usualLatency();
    load.answered(900, '/a.B/Slow');
    expect(['/a.B/Fast', '/a.B/Slow', '/a.B/Other'].map(usualLatency)).toEqual([1, 300, 2]);
  });

  it('estimates the latency of a method without responses as the latency of the method to which the median call belongs', () => {
    const load = new LoadBaseline(0);
    load.answered(1, '/a.B/Fast');
    for (let i = 0; i < 3; i++) load.answered(40, '/a.B/Usual');
    load.answered(300, '/a.B/Slow');
    expect(load.usualLatency()('/a.B/New')).toBe(40);
    expect(load.usualLatency()(undefined)).toBe(40);
  });
});
