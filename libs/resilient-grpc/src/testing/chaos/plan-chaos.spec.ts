import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { planChaos } from './plan-chaos.js';
import type { ChaosPlanOptions, PlannedFault, RangeMs } from './plan-chaos.js';

const range = (max: number) =>
  fc.tuple(fc.nat(max), fc.nat(max)).map(([one, other]): RangeMs => [Math.min(one, other), Math.max(one, other)]);
const faults = fc.uniqueArray(
  fc.record({ name: fc.string(), weight: fc.constantFrom(undefined, 0.5, 1, 7), forMs: range(2_000) }),
  { minLength: 1, maxLength: 6, selector: ({ name }) => name },
);
// Minimum duration of a plan in milliseconds. Even without its quiet last quarter, such a plan is long enough for the longest distance plus
// the longest fault.
const MIN_DURATION_MS = 7_000;
const options: fc.Arbitrary<ChaosPlanOptions> = fc
  .record({
    seed: fc.integer(),
    durationMs: fc.integer({ min: 1, max: 60_000 }),
    faults,
    distanceMs: fc.constantFrom(undefined, [1, 1] as const, [100, 900] as const, [0, 3_000] as const),
    quietMs: fc.constantFrom(undefined, 0),
  })
  .map((drawn) => ({ ...drawn, durationMs: drawn.durationMs + MIN_DURATION_MS }));

describe('planChaos', () => {
  it('draws the same chaos plan for the same options, and extends the plan for a longer duration', () => {
    fc.assert(
      fc.property(options, fc.nat(60_000), (shorter, moreMs) => {
        const plan = planChaos(shorter);
        expect(planChaos({ ...shorter })).toEqual(plan);
        const longer = planChaos({ ...shorter, durationMs: shorter.durationMs + moreMs });
        expect(longer.steps.slice(0, plan.steps.length)).toEqual(plan.steps);
      }),
    );
  });

  it('draws faults that do not overlap, with distances and durations in the given ranges, and keeps the end of the chaos plan quiet', () => {
    fc.assert(
      fc.property(options, (drawn) => {
        const { durationMs, distanceMs = [500, 1_500], quietMs = durationMs / 4 } = drawn;
        let endedAt = 0;
        for (const { atMs, fault, forMs } of planChaos(drawn).steps) {
          expect(atMs - endedAt).toBeGreaterThanOrEqual(distanceMs[0]);
          expect(atMs - endedAt).toBeLessThanOrEqual(distanceMs[1]);
          const [from, to] = drawn.faults.find(({ name }) => name === fault)!.forMs!;
          expect(forMs).toBeGreaterThanOrEqual(from);
          expect(forMs).toBeLessThanOrEqual(to);
          endedAt = atMs + forMs;
        }
        expect(endedAt).toBeLessThanOrEqual(durationMs - quietMs);
      }),
    );
  });

  it('draws chaos plans that survive a JSON round trip', () => {
    fc.assert(
      fc.property(options, (drawn) => {
        const plan = planChaos(drawn);
        expect(JSON.parse(JSON.stringify(plan))).toEqual(plan);
      }),
    );
  });

  it('draws chaos faults in proportion to their weights, and never a fault of weight 0', () => {
    const { steps } = planChaos({
      seed: 1,
      durationMs: 1_000_000,
      faults: [{ name: 'often', weight: 3 }, { name: 'seldom' }, { name: 'never', weight: 0 }],
      distanceMs: [100, 100],
      quietMs: 0,
    });
    expect(steps.length).toBe(10_000);
    const share = steps.filter(({ fault }) => fault === 'often').length / steps.length;
    expect(share).toBeCloseTo(0.75, 1);
    expect(steps.some(({ fault }) => fault === 'never')).toBe(false);
  });

  it('draws different chaos plans for different seeds', () => {
    const plans = [1, 2, 3].map((seed) =>
      planChaos({ seed, durationMs: 60_000, faults: [{ name: 'a' }, { name: 'b' }] }),
    );
    expect(new Set(plans.map(({ steps }) => JSON.stringify(steps))).size).toBe(3);
  });

  it.each<[string, Partial<ChaosPlanOptions>]>([
    ['seed to be a 32-bit integer, got NaN', { seed: NaN }],
    ['seed to be a 32-bit integer, got 4294967296', { seed: 2 ** 32 }],
    ['seed to be a 32-bit integer, got -2147483649', { seed: -(2 ** 31) - 1 }],
    ['durationMs to be greater than 0, got 0', { durationMs: 0 }],
    [
      'distanceMs to be [from, to] in whole milliseconds, with 0 <= from <= to and to > 0, got [0,0]',
      { distanceMs: [0, 0] },
    ],
    ['quietMs to be at least 0 and less than 1000, got 1000', { quietMs: 1_000 }],
    ['seed to be a 32-bit integer, got "1"', { seed: '1' as never }],
    ['faults to contain at least one fault, got an array of length 0', { faults: [] }],
    ...[
      [null, 'null'],
      [NaN, 'NaN'],
      [-1, '-1'],
      [Infinity, 'Infinity'],
      ['5', '"5"'],
      [5n, '5n'],
    ].map(([weight, received]): [string, Partial<ChaosPlanOptions>] => [
      `weight of "b" to be a finite number of 0 or more, got ${String(received)}`,
      { faults: [{ name: 'a' }, { name: 'b', weight: weight as number }] },
    ]),
    ['faults to contain at least one fault, got nothing', { faults: undefined as never }],
    ['faults to be objects with a name, got null', { faults: [null as never] }],
    ['durationMs to be greater than 0, got 1000n', { durationMs: 1_000n as never }],
    ['quietMs to be at least 0 and less than 1000, got null', { quietMs: null as never }],
    ['quietMs to be at least 0 and less than 1000, got "5"', { quietMs: '5' as never }],
    [
      'distanceMs to be [from, to] in whole milliseconds, with 0 <= from <= to and to > 0, got [1,2,3]',
      { distanceMs: [1, 2, 3] as never },
    ],
    [
      'at least one weight to be above 0, got only weights of 0',
      { faults: ['a', 'b'].map((name) => ({ name, weight: 0 })) },
    ],
    [
      'faults to have unique names, got several faults named "b"',
      { faults: ['a', 'b', 'b'].map((name) => ({ name })) },
    ],
    [
      'forMs of "a" to be [from, to] in whole milliseconds, with 0 <= from <= to, got [5,1]',
      { faults: [{ name: 'a', forMs: [5, 1] }] },
    ],
    [
      'forMs of "a" to be [from, to] in whole milliseconds, with 0 <= from <= to, got null',
      { faults: [{ name: 'a', forMs: null as never }] },
    ],
    [
      'distanceMs to be [from, to] in whole milliseconds, with 0 <= from <= to and to > 0, got 500',
      { distanceMs: 500 as never },
    ],
  ])('rejects invalid options of a chaos plan (%#): expected %s', (expected, wrong) => {
    const right = { seed: 1, durationMs: 1_000, faults: [{ name: 'a' }] };
    expect(() => planChaos({ ...right, ...wrong })).toThrow(new RangeError(`chaos: expected ${expected}`));
  });

  it.each<[string, (index: number) => PlannedFault]>([
    ['an invalid weight', (index) => ({ name: `fault ${index}`, weight: 0 })],
    ['an invalid name', () => ({ name: 'n'.repeat(3_000) })],
    ['an invalid duration', (index) => ({ name: `${index}`, forMs: Array.from({ length: 3_000 }, () => -1) as never })],
  ])('truncates the error about %s in a chaos plan of 3,000 faults', (_what, faultAt) => {
    const invalid = Array.from({ length: 3_000 }, (_, index) => faultAt(index));
    expect(() => planChaos({ seed: 1, durationMs: 1_000, faults: invalid })).toThrow(/^chaos: expected .{1,200}$/);
  });

  it('draws a chaos plan with at least one fault for any seed, and rejects options that do not guarantee a fault', () => {
    const exact = {
      durationMs: 1_000,
      quietMs: 200,
      distanceMs: [100, 500],
      faults: [{ name: 'a', forMs: [50, 300] }],
    } as const;
    fc.assert(
      fc.property(fc.integer(), (seed) => {
        expect(planChaos({ ...exact, seed }).steps.length).toBeGreaterThan(0);
      }),
    );
    expect(() => planChaos({ ...exact, seed: 1, durationMs: 999 })).toThrow(
      'chaos: expected durationMs minus quietMs to be at least 800, the longest distance plus the longest fault, got 799; ' +
        'increase durationMs, or reduce distanceMs or quietMs',
    );
    expect(() => planChaos({ seed: 1, durationMs: 300, faults: [{ name: 'a' }] })).toThrow(
      'expected durationMs minus quietMs',
    );
  });
});
