import { describe, expect, it } from 'vitest';
import { duration, oneLine } from './log-text.js';

describe('a text of the other side', () => {
  it('stays on one line, and colours no terminal', () => {
    expect(oneLine('a\nb\r\tc\u001b[31md\u0000\u2028e\u0085')).toBe(
      'a\\u000ab\\u000d\\u0009c\\u001b[31md\\u0000\\u2028e\\u0085',
    );
  });

  it('is cut', () => {
    expect(oneLine('x'.repeat(300))).toBe('x'.repeat(300));
    expect(oneLine('x'.repeat(301))).toBe(`${'x'.repeat(300)}…`);
    expect(oneLine('\n'.repeat(100_000)).length).toBeLessThan(310);
  });

  it('is otherwise as it was', () => expect(oneLine('Grüße, ☕ "x" \\ y')).toBe('Grüße, ☕ "x" \\ y'));
});

describe('a length of time', () => {
  it.each([
    [0, '0 ms'],
    [80.4, '80 ms'],
    [999, '999 ms'],
    [1_000, '1 s'],
    [5_100, '5.1 s'],
    [99_949, '99.9 s'],
    [125_400, '125 s'],
  ])('of %d ms is read as %s', (ms, text) => expect(duration(ms)).toBe(text));
});
