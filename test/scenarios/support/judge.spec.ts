import { describe, expect, it } from 'vitest';
import { brokenOf, inOneLine, judge } from './judge.js';

const scenario = {
  name: 'tea',
  bounds: {
    failed: { atMost: 0 },
    cycles: { atLeast: 100 },
    exact: { atLeast: 2, atMost: 2 },
    'slowest ms': { atMost: 50, timed: true },
  },
};
const kept = { failed: 0, cycles: 100, exact: 2, 'slowest ms': 50 };

describe('judge', () => {
  it('judge() returns each figure that has a bound, with its value and its bound', () => {
    expect(judge({ bounds: scenario.bounds }, { ...kept, unbound: 7 }, 'short', 'all')).toEqual([
      { figure: 'failed', value: 0, bound: { atMost: 0 }, timed: false, ok: true },
      { figure: 'cycles', value: 100, bound: { atLeast: 100 }, timed: false, ok: true },
      { figure: 'exact', value: 2, bound: { atLeast: 2, atMost: 2 }, timed: false, ok: true },
      { figure: 'slowest ms', value: 50, bound: { atMost: 50 }, timed: true, ok: true },
    ]);
  });

  it('judge() omits timed bounds if only counts are judged', () => {
    const slow = { ...kept, 'slowest ms': 51 };
    expect(judge(scenario, slow, 'short', 'counts').map(({ figure }) => figure)).toEqual(['failed', 'cycles', 'exact']);
    expect(brokenOf(judge(scenario, slow, 'short', 'counts'))).toEqual([]);
    expect(brokenOf(judge(scenario, slow, 'short', 'all'))).toEqual(['slowest ms is 51 (≤ 50)']);
  });

  it('brokenOf() names the figures that are out of bounds, with their upstream and bound', () => {
    const measured = { 'failed @grpc-js, plain': 0, 'failed @grpcio, TLS': 3, cycles: 99, exact: 1 };
    expect(brokenOf(judge(scenario, measured, 'short', 'counts'))).toEqual([
      'failed @grpcio, TLS is 3 (≤ 0)',
      'cycles is 99 (≥ 100)',
      'exact is 1 (= 2)',
    ]);
  });

  it('judge() marks missing figures and values that are not finite numbers as not ok', () => {
    expect(brokenOf(judge(scenario, { failed: NaN, cycles: 'many' }, 'short', 'all'))).toEqual([
      'failed is NaN (≤ 0)',
      'cycles is many (≥ 100)',
      'exact was not measured',
      'slowest ms was not measured',
    ]);
    // -Infinity is the maximum of an empty list.
    expect(brokenOf(judge(scenario, { ...kept, failed: -Infinity, cycles: Infinity }, 'short', 'all'))).toEqual([
      'failed is -Infinity (≤ 0)',
      'cycles is Infinity (≥ 100)',
    ]);
  });

  it('judge() replaces bounds with the fullBounds of the same name in a full run, and keeps the other bounds', () => {
    const long = {
      ...scenario,
      fullBounds: { cycles: { atLeast: 1_000 }, exact: { atMost: 1, timed: true }, minutes: { atLeast: 1 } },
    };
    const measured = { ...kept, failed: 1 };
    expect(brokenOf(judge(long, measured, 'short', 'counts'))).toEqual(['failed is 1 (≤ 0)']);
    expect(brokenOf(judge(long, measured, 'full', 'counts'))).toEqual([
      'failed is 1 (≤ 0)',
      'cycles is 100 (≥ 1000)',
      'minutes was not measured',
    ]);
    expect(brokenOf(judge(long, measured, 'full', 'all'))).toContain('exact is 2 (≤ 1)');
  });
});

describe('inOneLine', () => {
  it('inOneLine() groups the figures by upstream and shows each bound once', () => {
    const measured = { cycles: 1_000, 'failed @a': 0, 'ms @a': 1.23456, 'failed @b': 1 };
    expect(inOneLine(scenario, measured, 'short')).toBe(
      'tea: cycles 1000 (≥ 100); [a] failed 0 (≤ 0), ms 1.235; [b] failed 1',
    );
  });
});
