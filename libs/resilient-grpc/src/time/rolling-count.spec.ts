import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RollingCount } from './rolling-count.js';

describe('RollingCount', () => {
  it('drops all events of the oldest tenth of the time together, when the next tenth begins', () => {
    const rolling = new RollingCount(10_000);
    for (const at of [0, 1, 999, 5_000]) rolling.add(at);
    rolling.add(9_999, 0);
    expect(rolling.count).toBe(4);
    rolling.add(10_000);
    expect(rolling.count).toBe(2);
  });

  it('counts only the new event if no event came within the time', () => {
    for (const idleMs of [10_999, 11_000, 95_000, 1e12]) {
      const rolling = new RollingCount(10_000);
      for (let i = 0; i < 50; i++) rolling.add(0);
      rolling.add(idleMs);
      expect({ idleMs, count: rolling.count }).toEqual({ idleMs, count: 1 });
    }
  });

  it('counts events even if the clock goes back or starts below 0', () => {
    const rolling = new RollingCount(10_000);
    for (const at of [-4_500, 3_000, -9_000]) rolling.add(at);
    expect(rolling.count).toBe(3);
    rolling.add(6_000);
    expect(rolling.count).toBe(3);
  });

  it('returns the same count as a plain list for any sequence of events', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(3_000), fc.nat(2)), { maxLength: 100 }), (steps) => {
        const rolling = new RollingCount(1_000);
        const seen: (readonly [bucket: number, events: number])[] = [];
        let now = 0;
        for (const [afterMs, events] of steps) {
          now += afterMs;
          rolling.add(now, events);
          seen.push([Math.floor(now / 100), events]);
          const kept = seen.filter(([bucket]) => bucket > Math.floor(now / 100) - 10);
          expect(rolling.count).toBe(kept.reduce((sum, [, events]) => sum + events, 0));
        }
      }),
    );
  });
});
