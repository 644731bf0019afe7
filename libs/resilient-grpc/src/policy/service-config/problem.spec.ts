import { describe, expect, it } from 'vitest';
import { Problems, at, show } from './problem.js';

describe('at', () => {
  it.each<[path: string, key: string | number, result: string]>([
    ['clients', 'orders', 'clients.orders'],
    ['', 'orders', 'orders'],
    ['list', 3, 'list[3]'],
    ['', 0, '[0]'],
    ['methods', '$get_1', 'methods.$get_1'],
    ['methods', 'Orders/Get', 'methods["Orders/Get"]'],
    ['methods', '*Get', 'methods["*Get"]'],
    ['methods', 'Get*', 'methods["Get*"]'],
    ['methods', 'say "hi"', 'methods["say \\"hi\\""]'],
    ['methods', '', 'methods[""]'],
  ])('joins the path %j and the key %j to %s', (path, key, result) => {
    expect(at(path, key)).toBe(result);
  });
});

describe('show', () => {
  it.each<[value: unknown, text: string]>([
    [undefined, 'nothing'],
    [null, 'null'],
    ['', '""'],
    ['a "b"', '"a \\"b\\""'],
    [1.5, '1.5'],
    [NaN, 'NaN'],
    [-Infinity, '-Infinity'],
    [10n, '10'],
    [Symbol('x'), 'Symbol(x)'],
    [true, 'true'],
    [[1, 'b'], '[1,"b"]'],
    [() => 1, 'a function'],
    ['x'.repeat(58), `"${'x'.repeat(58)}"`],
    ['x'.repeat(59), `"${'x'.repeat(58)}…`],
  ])('formats %o as %s', (value, text) => {
    expect(show(value)).toBe(text);
  });

  it('formats an object that cannot be serialized to JSON', () => {
    const ring: Record<string, unknown> = {};
    ring['self'] = ring;
    expect(show(ring)).toBe('an object that is not valid JSON');
  });
});

it('Problems lists each problem with the received value and a suggestion', () => {
  const problems = new Problems();
  expect(problems.none).toBe(true);
  problems.add('a', 'a number', 'x');
  problems.add('b', 'a number', '1', '1 without quotes');
  problems.say('c', 'is not a key');
  expect(problems.none).toBe(false);
  expect(problems.list).toEqual([
    { path: 'a', message: 'expected a number, got "x"' },
    { path: 'b', message: 'expected a number, got "1"; write 1 without quotes' },
    { path: 'c', message: 'is not a key' },
  ]);
});
