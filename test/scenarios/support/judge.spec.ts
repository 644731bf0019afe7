import { describe, expect, it } from 'vitest';
import { inOneLine, judge } from './judge.js';

const situation = {
  name: 'tea',
  bounds: { failed: { atMost: 0 }, cycles: { atLeast: 100 }, exact: { atLeast: 2, atMost: 2 } },
};

describe('a judgement', () => {
  it('finds nothing where every figure is within its bound', () => {
    expect(judge(situation, { failed: 0, cycles: 100, exact: 2, unbound: 7 }, 'short')).toEqual([]);
  });

  it('names what is not, against which upstream, and the bound', () => {
    const measured = { 'failed @grpc-js, plain': 0, 'failed @grpcio, TLS': 3, cycles: 99, exact: 1 };
    expect(judge(situation, measured, 'short')).toEqual([
      'failed @grpcio, TLS is 3 (≤ 0)',
      'cycles is 99 (≥ 100)',
      'exact is 1 (= 2)',
    ]);
  });

  it('misses what was not measured, or is no number', () => {
    expect(judge(situation, { failed: NaN, cycles: 'many' }, 'short')).toEqual([
      'failed is NaN (≤ 0)',
      'cycles is many (≥ 100)',
      'exact was not measured',
    ]);
    // The greatest of nothing.
    expect(judge(situation, { failed: -Infinity, cycles: Infinity, exact: 2 }, 'short')).toEqual([
      'failed is -Infinity (≤ 0)',
      'cycles is Infinity (≥ 100)',
    ]);
  });

  it('holds a full play against the bounds of one, and against the others', () => {
    const long = { ...situation, fullBounds: { cycles: { atLeast: 1_000 }, minutes: { atLeast: 1 } } };
    const measured = { failed: 1, cycles: 100, exact: 2 };
    expect(judge(long, measured, 'short')).toEqual(['failed is 1 (≤ 0)']);
    expect(judge(long, measured, 'full')).toEqual([
      'failed is 1 (≤ 0)',
      'cycles is 100 (≥ 1000)',
      'minutes was not measured',
    ]);
  });
});

describe('the line of a situation', () => {
  it('has its figures by upstream, and each bound once', () => {
    const measured = { cycles: 1_000, 'failed @a': 0, 'ms @a': 1.23456, 'failed @b': 1 };
    expect(inOneLine(situation, measured, 'short')).toBe(
      'tea: cycles 1000 (≥ 100); [a] failed 0 (≤ 0), ms 1.235; [b] failed 1',
    );
  });
});
