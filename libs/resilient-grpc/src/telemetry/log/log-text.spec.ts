import { describe, expect, it } from 'vitest';
import { duration, listed, oneLine, stackOf } from './log-text.js';

describe('oneLine', () => {
  it('escapes line breaks and terminal colors in logged text', () => {
    expect(oneLine('a\nb\r\tc\u001b[31md\u0000\u2028e\u0085')).toBe(
      'a\\u000ab\\u000d\\u0009c\\u001b[31md\\u0000\\u2028e\\u0085',
    );
  });

  it('escapes Unicode bidirectional control characters in logged text', () => {
    expect(oneLine('a\u061cb\u200ec\u200fd\u202ae\u202ef\u2066g\u2069')).toBe(
      'a\\u061cb\\u200ec\\u200fd\\u202ae\\u202ef\\u2066g\\u2069',
    );
  });

  it('truncates logged text to 300 characters', () => {
    expect(oneLine('x'.repeat(300))).toBe('x'.repeat(300));
    expect(oneLine('x'.repeat(301))).toBe(`${'x'.repeat(300)}…`);
    expect(oneLine('\n'.repeat(100_000)).length).toBeLessThan(310);
  });

  it('logs no part of a secret that the truncation would split', () => {
    expect(oneLine(`${'x'.repeat(285)} Bearer ${'hush'.repeat(50)}`)).not.toContain('hush');
    expect(oneLine(`${'x'.repeat(280)} https://me:${'hush'.repeat(50)}@host/`)).not.toContain('hush');
    expect(oneLine(`at https://me:${'hush'.repeat(2_000)}@host/`)).not.toContain('hush');
  });

  it('keeps logged text without control characters unchanged', () =>
    expect(oneLine('Grüße, ☕ "x" \\ y')).toBe('Grüße, ☕ "x" \\ y'));
});

describe('stackOf', () => {
  const FRAME = '    at handler (/app/orders.js:1:1)';

  it('logs the error message on one line, then the stack frames', () => {
    expect(stackOf('Error: no table', 'no table', `Error: no table\n${FRAME}\n${FRAME}`)).toBe(
      `Error: no table\n${FRAME}\n${FRAME}`,
    );
  });

  it.each([
    ['message unchanged', (message: string) => message],
    ['message changed after the throw', () => 'other'],
  ])(
    'prevents an error message from adding forged log lines or terminal colors to the logged stack (%s)',
    (_how, now) => {
      const message = 'bad name: x\n[Nest] 1 LOG forged\n    at forged\u001b[31m';
      const shown = stackOf(`Error: ${now(message)}`, now(message), `Error: ${message}\n${FRAME}`);
      expect(shown.split('\n').slice(1).join('\n')).toMatch(/^( {4}at [^\u001b]*\n?)+$/);
      expect(shown).toContain(FRAME);
    },
  );

  it('truncates the message and the frames of a logged stack and masks secrets', () => {
    const message = 'x'.repeat(200_000);
    const shown = stackOf('Error', message, `Error: ${message}\n${`${FRAME}?token=hush\n`.repeat(500)}`);
    expect(shown.length).toBeLessThan(7_000);
    expect(shown).toContain(FRAME);
    expect(shown).not.toContain('hush');
  });
});

describe('duration', () => {
  it.each([
    [0, '0 ms'],
    [80.4, '80 ms'],
    [999, '999 ms'],
    [1_000, '1 s'],
    [5_100, '5.1 s'],
    [99_949, '99.9 s'],
    [125_400, '125 s'],
  ])('formats a duration of %d ms in the log as %s', (ms, text) => expect(duration(ms)).toBe(text));
});

describe('listed', () => {
  it.each<[items: string[], text: string]>([
    [[], ''],
    [['a', 'b'], 'a, b'],
    [['a', 'b', 'c', 'd'], 'a, b, and 2 more'],
  ])('lists at most 2 items of %j in the log and counts the others', (items, text) =>
    expect(listed(items, 2)).toBe(text),
  );
});
