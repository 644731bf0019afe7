import { describe, expect, it } from 'vitest';
import { duration, oneLine, stackOf } from './log-text.js';

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

  it('that is cut within a secret shows none of it', () => {
    expect(oneLine(`${'x'.repeat(285)} Bearer ${'hush'.repeat(50)}`)).not.toContain('hush');
    expect(oneLine(`${'x'.repeat(280)} https://me:${'hush'.repeat(50)}@host/`)).not.toContain('hush');
    expect(oneLine(`at https://me:${'hush'.repeat(2_000)}@host/`)).not.toContain('hush');
  });

  it('is otherwise as it was', () => expect(oneLine('Grüße, ☕ "x" \\ y')).toBe('Grüße, ☕ "x" \\ y'));
});

describe('a stack', () => {
  const FRAME = '    at handler (/app/orders.js:1:1)';

  it('is the text of its error on one line, and its frames', () => {
    expect(stackOf('Error: no table', 'no table', `Error: no table\n${FRAME}\n${FRAME}`)).toBe(
      `Error: no table\n${FRAME}\n${FRAME}`,
    );
  });

  it.each([
    ['as it was thrown', (message: string) => message],
    ['that was given another text since', () => 'other'],
  ])('cannot be made to hold a line of another’s making, %s', (_how, now) => {
    const message = 'bad name: x\n[Nest] 1 LOG forged\n    at forged\u001b[31m';
    const shown = stackOf(`Error: ${now(message)}`, now(message), `Error: ${message}\n${FRAME}`);
    expect(shown.split('\n').slice(1).join('\n')).toMatch(/^( {4}at [^\u001b]*\n?)+$/);
    expect(shown).toContain(FRAME);
  });

  it('is cut, its text and its frames, and keeps no secret', () => {
    const message = 'x'.repeat(200_000);
    const shown = stackOf('Error', message, `Error: ${message}\n${`${FRAME}?token=hush\n`.repeat(500)}`);
    expect(shown.length).toBeLessThan(7_000);
    expect(shown).toContain(FRAME);
    expect(shown).not.toContain('hush');
  });
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
