import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parsePushback } from './parse-pushback.js';

describe('parsePushback', () => {
  it.each([
    ['returns none if there is no value', [], { kind: 'none' }],
    ['returns a delay for one integer', ['300'], { kind: 'delay', ms: 300 }],
    ['returns a delay of 0 for 0', ['0'], { kind: 'delay', ms: 0 }],
    ['returns a delay of 0 for -0', ['-0'], { kind: 'delay', ms: 0 }],
    ['decodes bytes as text', [Buffer.from('25')], { kind: 'delay', ms: 25 }],
    ['limits a delay to the longest timer', ['99999999999999999999'], { kind: 'delay', ms: 2 ** 31 - 1 }],
    ['returns stop for a negative integer', ['-1'], { kind: 'stop', because: 'negative' }],
    ['returns stop for a word', ['soon'], { kind: 'stop', because: 'malformed' }],
    ['returns stop for a number with a unit', ['10ms'], { kind: 'stop', because: 'malformed' }],
    ['returns stop for a fraction', ['1.5'], { kind: 'stop', because: 'malformed' }],
    ['returns stop for an exponent', ['1e3'], { kind: 'stop', because: 'malformed' }],
    ['returns stop for an empty string', [''], { kind: 'stop', because: 'malformed' }],
    ['returns stop for repeated values, even if both are valid', ['100', '10'], { kind: 'stop', because: 'repeated' }],
  ])('parsePushback() %s', (_, values, expected) => {
    expect(parsePushback(values)).toEqual(expected);
  });

  it('parsePushback() returns only delays that a timer accepts, and returns none only if there is no value', () => {
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
