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

  it.each([
    ['a token', 'refused: Bearer abc.DEF-123_x~y+z/=', 'refused: Bearer ***'],
    ['a password', 'header Basic dXNlcjpwYXNz, sent', 'header Basic ***, sent'],
    ['a JWT', 'bad eyJhbGciOi.eyJzdWIi.c2ln here', 'bad *** here'],
    ['a header', 'authorization: hush', 'authorization: ***'],
    ['a header with a scheme', '"authorization": "Bearer hush"', '"authorization": "Bearer ***"'],
    ['a header in JSON', '{"x-api-key":"hush","a":1}', '{"x-api-key":"***","a":1}'],
    ['a URL', 'at https://me:hush@host/a', 'at https://***@host/a'],
    [
      'what grpc-js quotes',
      'Metadata string value "hush hush" contains illegal characters',
      'Metadata string value "***" contains illegal characters',
    ],
  ])('has %s masked', (_what, text, shown) => expect(oneLine(text)).toBe(shown));

  it('that is cut within a secret shows none of it', () => {
    expect(oneLine(`${'x'.repeat(285)} Bearer ${'hush'.repeat(50)}`)).not.toContain('hush');
  });

  it('takes little time, however it is made', () => {
    const began = performance.now();
    for (const part of ['Bearer ', 'eyJ', 'token: ', '://a', 'Metadata value "']) oneLine(part.repeat(100_000));
    expect(performance.now() - began).toBeLessThan(500);
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
