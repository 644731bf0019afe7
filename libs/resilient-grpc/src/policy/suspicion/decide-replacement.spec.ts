import { describe, expect, it } from 'vitest';
import { decideReplacement, type Replacements } from './decide-replacement.js';
import { DEFAULT_SUSPICION_POLICY as POLICY } from './suspicion-policy.js';

const MINUTE_MS = 60_000;

describe('decideReplacement', () => {
  it.each<[string, Replacements, number, Replacements]>([
    ['allows the first replacement of a connection', [], 0, [0]],
    ['allows a third replacement of a connection', [0, MINUTE_MS], 2 * MINUTE_MS, [0, MINUTE_MS, 2 * MINUTE_MS]],
    [
      'allows another replacement ten minutes after the first of three',
      [0, MINUTE_MS, 2 * MINUTE_MS],
      10 * MINUTE_MS,
      [MINUTE_MS, 2 * MINUTE_MS, 10 * MINUTE_MS],
    ],
    [
      'counts replacements of connections within ten seconds as one',
      [0, MINUTE_MS, 2 * MINUTE_MS],
      2 * MINUTE_MS + 9_999,
      [0, MINUTE_MS, 2 * MINUTE_MS],
    ],
  ])('%s', (_, past, now, replacements) => {
    expect(decideReplacement(past, now, POLICY)).toEqual({ replace: true, replacements });
  });

  it.each<[string, number]>([
    ['ten seconds after the third', 2 * MINUTE_MS + 10_000],
    ['until ten minutes after the first', 10 * MINUTE_MS - 1],
  ])('refuses a fourth replacement of a connection %s', (_, now) => {
    const past = [0, MINUTE_MS, 2 * MINUTE_MS];
    expect(decideReplacement(past, now, POLICY)).toEqual({ replace: false, because: 'too-many', replacements: past });
  });
});
