import { describe, expect, it } from 'vitest';
import { parseOptions } from '../options/option-problems.js';
import { duration } from './duration-schema.js';

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

  it.each([
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
  ])('rejects the duration %j', (text) => {
    expect(read(text)).toContain(`expected a duration above 0, in seconds as a string, got ${JSON.stringify(text)}`);
  });
});

describe('suggestion of duration', () => {
  it.each<[value: unknown, write: string]>([
    [2, 'write "2s" if it is in seconds, "0.002s" if it is in milliseconds'],
    ['500ms', 'write "0.5s"'],
    ['500 MS', 'write "0.5s"'],
    ['250 millis', 'write "0.25s"'],
    ['2', 'write "2s"'],
    [' 2 sec ', 'write "2s"'],
    ['1 second', 'write "1s"'],
    ['1.25 seconds', 'write "1.25s"'],
    ['1m', 'write "60s"'],
    ['2 min', 'write "120s"'],
    ['1 minute', 'write "60s"'],
    ['1.5 minutes', 'write "90s"'],
    ['1h', 'write "3600s"'],
  ])('rejects the duration %j with the suggestion: %s', (value, write) => {
    expect(read(value)?.toString().endsWith(`; ${write}`)).toBe(true);
  });

  it.each<readonly [value: unknown]>([
    [0],
    [-1],
    [NaN],
    [Infinity],
    ['0ms'],
    ['x 5ms'],
    ['5ms x'],
    ['5 days'],
    ['5.ms'],
    [null],
    [undefined],
    [true],
    [[]],
    [{}],
    [{ seconds: 0 }],
    [{ seconds: -1 }],
    [{ seconds: 'soon' }],
    [{ seconds: Infinity }],
  ])('suggests a general example for the invalid duration %o', (value) => {
    expect(read(value)?.toString().endsWith('; write "0.5s" for half a second')).toBe(true);
  });
});
