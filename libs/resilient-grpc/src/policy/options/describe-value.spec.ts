import { of } from 'rxjs';
import { describe, expect, it, vi } from 'vitest';
import { describeData, describeSecret, describeValue, pathOf } from './describe-value.js';

describe('pathOf', () => {
  it.each<[path: string, key: string | number, result: string]>([
    ['clients', 'orders', 'clients.orders'],
    ['', 'orders', 'orders'],
    ['list', 3, 'list[3]'],
    ['', 0, '[0]'],
    ['methods', '$get_1', 'methods.$get_1'],
    ['methods', 'Orders/Get', 'methods["Orders/Get"]'],
    ['methods', '*Get', 'methods["*Get"]'],
    ['methods', 'Get*', 'methods["Get*"]'],
    ['methods', 'a\nb\u0085\u202e', 'methods["a\\nb\\u0085\\u202e"]'],
    ['methods', 'say "hi"', 'methods["say \\"hi\\""]'],
    ['methods', '', 'methods[""]'],
    ['methods', 'x'.repeat(201), `methods["${'x'.repeat(200)}…"]`],
  ])('joins the path %j and the key %j into %s', (path, key, result) => {
    expect(pathOf(path, key)).toBe(result);
  });
});

describe('describeValue', () => {
  it.each<[value: unknown, text: string]>([
    [undefined, 'nothing'],
    [null, 'null'],
    ['', '""'],
    ['a "b"', '"a \\"b\\""'],
    [1.5, '1.5'],
    [NaN, 'NaN'],
    [-Infinity, '-Infinity'],
    [10n, '10n'],
    [Symbol('x'), 'a symbol'],
    [true, 'true'],
    [[1, 'b'], 'an array of length 2'],
    [[], 'an array of length 0'],
    [() => 1, 'a function'],
    [{ key: 'secret' }, 'an object with key'],
    [{}, 'an empty object'],
    [{ 'a\nb\u001b[31m\u009b\u202e': 1 }, 'an object with a\\u000ab\\u001b[31m\\u009b\\u202e'],
    ['a\nb\u009b\u202e', '"a\\nb\\u009b\\u202e"'],
    [Promise.resolve(1), 'a Promise'],
    [of(1), 'an Observable'],
    ['x'.repeat(60), `"${'x'.repeat(60)}"`],
    ['x'.repeat(61), `"${'x'.repeat(60)}…"`],
  ])('describes the value %o as %s', (value, text) => {
    expect(describeValue(value)).toBe(text);
  });

  it('describes an object whose properties cannot be read, such as an environment that rejects unknown names', () => {
    const reject = vi.fn(() => {
      throw new Error('unknown name');
    });
    expect(describeValue(new Proxy({ URL: 'x' }, { get: reject }))).toBe('an object with URL');
    // A plain object is described by its keys alone, because a getter can have side effects.
    expect(reject).not.toHaveBeenCalled();
    class Unreadable {
      readonly key = 1;
      get pipe(): never {
        return reject();
      }
    }
    expect(describeValue(new Unreadable())).toBe('an object with key');
    expect(describeSecret(new Unreadable())).toBe('an object');
  });

  it('describes the keys of an object that contains itself', () => {
    const ring: Record<string, unknown> = {};
    ring['self'] = ring;
    expect(describeValue(ring)).toBe('an object with self');
  });
});

describe('describeData', () => {
  const ring: Record<string, unknown> = {};
  ring['self'] = ring;

  it.each<[value: unknown, text: string]>([
    ['a', '"a"'],
    [5, '5'],
    [10n, '10n'],
    [Symbol('x'), 'Symbol(x)'],
    [{ text: '\u009b' }, '{"text":"\\u009b"}'],
    [{ low: 5, high: 0 }, '{"low":5,"high":0}'],
    [[1, 'b'], '[1,"b"]'],
    [{}, 'an empty object'],
    [Promise.resolve(1), 'a Promise'],
    [{ url: 'http://user:secret@host' }, '{"url":"http://***@host"}'],
    [{ text: 'x'.repeat(100) }, `{"text":"${'x'.repeat(51)}…`],
    [ring, 'an object that cannot be serialized as JSON'],
    [{ toJSON: () => undefined }, 'an object that cannot be serialized as JSON'],
  ])('describes the data %o as %s', (value, text) => {
    expect(describeData(value)).toBe(text);
  });
});
