import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parsePushback } from './parse-pushback.js';

describe('parsePushback', () => {
  it.each([
    ['no value is no pushback', [], { kind: 'none' }],
    ['one integer is a delay', ['300'], { kind: 'delay', ms: 300 }],
    ['0 is a delay of nothing', ['0'], { kind: 'delay', ms: 0 }],
    ['-0 is 0', ['-0'], { kind: 'delay', ms: 0 }],
    ['bytes are read as text', [Buffer.from('25')], { kind: 'delay', ms: 25 }],
    ['what no timer can hold is cut', ['99999999999999999999'], { kind: 'delay', ms: 2 ** 31 - 1 }],
    ['a negative integer stops', ['-1'], { kind: 'stop', because: 'negative' }],
    ['a word stops', ['soon'], { kind: 'stop', because: 'malformed' }],
    ['a unit stops', ['10ms'], { kind: 'stop', because: 'malformed' }],
    ['a fraction stops', ['1.5'], { kind: 'stop', because: 'malformed' }],
    ['an exponent stops', ['1e3'], { kind: 'stop', because: 'malformed' }],
    ['an empty text stops', [''], { kind: 'stop', because: 'malformed' }],
    ['a repeated value stops, even if both are good', ['100', '10'], { kind: 'stop', because: 'repeated' }],
  ])('%s', (_, values, expected) => {
    expect(parsePushback(values)).toEqual(expected);
  });

  it('gives a delay that a timer can hold, or none at all', () => {
    fc.assert(
      fc.property(fc.array(fc.string()), (values) => {
        const pushback = parsePushback(values);
        if (pushback.kind === 'delay') {
          expect(pushback.ms).toBeGreaterThanOrEqual(0);
          expect(pushback.ms).toBeLessThan(2 ** 31);
        }
        expect(pushback.kind === 'none').toBe(values.length === 0);
      }),
    );
  });
});
