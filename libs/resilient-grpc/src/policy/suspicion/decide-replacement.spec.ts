import { describe, expect, it } from 'vitest';
import { decideReplacement, type Replacements } from './decide-replacement.js';
import { DEFAULT_SUSPICION_POLICY as POLICY } from './suspicion-policy.js';

const MINUTE = 60_000;

describe('decideReplacement', () => {
  it.each<[string, Replacements, number, Replacements]>([
    ['allows the first replacement of a connection', [], 0, [0]],
    ['allows a third replacement of a connection', [0, MINUTE], 2 * MINUTE, [0, MINUTE, 2 * MINUTE]],
    [
      'allows another replacement ten minutes after the first of three',
      [0, MINUTE, 2 * MINUTE],
      10 * MINUTE,
      [MINUTE, 2 * MINUTE, 10 * MINUTE],
    ],
    [
      'counts replacements of connections within ten seconds as one',
      [0, MINUTE, 2 * MINUTE],
      2 * MINUTE + 9_999,
      [0, MINUTE, 2 * MINUTE],
    ],
  ])('%s', (_, past, now, replacements) => {
    expect(decideReplacement(past, now, POLICY)).toEqual({ replace: true, replacements });
  });

  it.each<[string, number]>([
    ['ten seconds after the third', 2 * MINUTE + 10_000],
    ['until ten minutes after the first', 10 * MINUTE - 1],
  ])('refuses a fourth replacement of a connection %s', (_, now) => {
    const past = [0, MINUTE, 2 * MINUTE];
    expect(decideReplacement(past, now, POLICY)).toEqual({ replace: false, because: 'too-many', replacements: past });
  });
});
