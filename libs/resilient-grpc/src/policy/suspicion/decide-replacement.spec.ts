import { describe, expect, it } from 'vitest';
import { decideReplacement, type Replacements } from './decide-replacement.js';
import { DEFAULT_SUSPICION_POLICY as POLICY } from './suspicion-policy.js';

const MINUTE = 60_000;

describe('a replacement', () => {
  it.each<[string, Replacements, number, Replacements]>([
    ['is allowed as the first', [], 0, [0]],
    ['is allowed as the third', [0, MINUTE], 2 * MINUTE, [0, MINUTE, 2 * MINUTE]],
    [
      'is allowed when the first of three is ten minutes ago',
      [0, MINUTE, 2 * MINUTE],
      10 * MINUTE,
      [MINUTE, 2 * MINUTE, 10 * MINUTE],
    ],
    [
      'is one with others of the same ten seconds',
      [0, MINUTE, 2 * MINUTE],
      2 * MINUTE + 9_999,
      [0, MINUTE, 2 * MINUTE],
    ],
  ])('%s', (_, past, now, replacements) => {
    expect(decideReplacement(past, now, POLICY)).toEqual({ replace: true, replacements });
  });

  it.each<[string, number]>([
    ['as the fourth', 2 * MINUTE + 10_000],
    ['up to the last moment of ten minutes', 10 * MINUTE - 1],
  ])('is refused %s', (_, now) => {
    const past = [0, MINUTE, 2 * MINUTE];
    expect(decideReplacement(past, now, POLICY)).toEqual({ replace: false, because: 'too-many', replacements: past });
  });
});
