import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parsePushback } from './parse-pushback.js';

describe('parsePushback', () => {
  it.each([
    ['returns none if there is no pushback value', [], { kind: 'none' }],
    ['returns a delay for a pushback of one integer', ['300'], { kind: 'delay', ms: 300 }],
    ['returns a delay of 0 for a pushback of 0', ['0'], { kind: 'delay', ms: 0 }],
    ['returns a delay of 0 for a pushback of -0', ['-0'], { kind: 'delay', ms: 0 }],
    ['decodes the bytes of a pushback as text', [Buffer.from('25')], { kind: 'delay', ms: 25 }],
    [
      'limits the delay of a pushback to the longest delay of a timer',
      ['99999999999999999999'],
      { kind: 'delay', ms: 2 ** 31 - 1 },
    ],
    ['returns stop for a pushback of a negative integer', ['-1'], { kind: 'stop' }],
    ['returns stop for a pushback of a word', ['soon'], { kind: 'stop' }],
    ['returns stop for a pushback of a number with a unit', ['10ms'], { kind: 'stop' }],
    ['returns stop for a pushback of a fraction', ['1.5'], { kind: 'stop' }],
    ['returns stop for a pushback with an exponent', ['1e3'], { kind: 'stop' }],
    ['returns stop for a pushback of an empty string', [''], { kind: 'stop' }],
    ['returns stop for repeated pushbacks, even if both are valid', ['100', '10'], { kind: 'stop' }],
  ])('%s', (_, values, expected) => {
    expect(parsePushback(values)).toEqual(expected);
  });

  it('returns only pushback delays that a timer accepts, and the kind "none" only if there is no pushback value', () => {
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
