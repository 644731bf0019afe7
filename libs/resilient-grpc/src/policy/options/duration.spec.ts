import { describe, expect, it } from 'vitest';
import { describeValue } from '../options/describe-value.js';
import { parseOptions } from '../options/option-problems.js';
import { duration } from '../options/option-schemas.js';

function read(value: unknown, zero?: boolean): number | string | undefined {
  const parsed = parseOptions(duration(zero), value, 'timeout');
  return parsed.ok ? parsed.options : parsed.problems[0]?.message;
}

describe('duration', () => {
  it.each<[text: string, ms: number]>([
    ['1s', 1_000],
    ['0.5s', 500],
    ['0.07s', 70],
    ['0.000000001s', 0.000001],
    ['0.0005s', 0.5],
    ['1.5s', 1_500],
    ['001s', 1_000],
    ['315576000000s', 315_576_000_000_000],
  ])('reads the duration %s as %d ms', (text, ms) => {
    expect(read(text)).toBe(ms);
  });

  it.each([
    [{ seconds: 1, nanos: 500_000_000 }, 1_500],
    [{ seconds: 0, nanos: 1 }, 0.000001],
    [{ seconds: '2' }, 2_000],
  ])('reads the duration %j as %d ms', (value, ms) => {
    expect(read(value)).toBe(ms);
  });

  it('accepts a duration of 0 only if zero is allowed', () => {
    expect(read('0s', true)).toBe(0);
    expect(read('0.000s', true)).toBe(0);
    expect(read('-0s', true)).toContain('expected a duration of 0 or more');
    expect(read('0s')).toContain('expected a duration above 0');
  });

  it.each<unknown>([
    '',
    's',
    '1',
    '.5s',
    '1.s',
    '1S',
    ' 1s',
    '1s ',
    '1s\n',
    '1s2',
    '-1s',
    '+1s',
    '1e3s',
    '1.0000000000s',
    'x1s',
    '500ms',
    2,
    NaN,
    null,
    undefined,
    true,
    [],
    {},
    { seconds: 0 },
    { seconds: -1 },
    { seconds: 'soon' },
    { seconds: Infinity },
  ])('rejects the duration %j', (value) => {
    const problem = `expected a duration above 0, in seconds as a string such as "0.5s", got ${describeValue(value)}`;
    expect(read(value)).toBe(problem);
  });
});
