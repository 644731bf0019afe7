import { describe, expect, it } from 'vitest';
import { duration, listed, oneLine, stackOf, maskSecrets } from './log-text.js';

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

describe('maskSecrets', () => {
  it.each([
    ['a bearer token', 'refused: Bearer abc.DEF-123_x~y+z/=', 'refused: Bearer ***'],
    ['a password in Basic authentication', 'header Basic dXNlcjpwYXNz, sent', 'header Basic ***, sent'],
    ['a JWT', 'bad eyJhbGciOi.eyJzdWIi.c2ln here', 'bad *** here'],
    ['an authorization header', 'authorization: hush', 'authorization: ***'],
    ['an authorization header with a scheme', '"authorization": "Bearer hush"', '"authorization": "***"'],
    [
      'an authorization header with parameters',
      'authorization: Digest username="hush hush", response="hush", nc=1',
      'authorization: ***',
    ],
    ['every cookie', 'cookie: a=hush; b=hush; c=hush\nsent', 'cookie: ***\nsent'],
    ['cookies in a list', "'set-cookie': [ 'a=hush', 'b=hush' ]", "'set-cookie': ***]"],
    ['an API key header in JSON', '{"x-api-key":"hush","a":1}', '{"x-api-key":"***","a":1}'],
    ['a token with quotes in it', '{"token":"hush \\"hush","a":1}', '{"token":"***","a":1}'],
    [
      'a token in JSON within JSON',
      '{"body":"{\\"token\\":\\"hush\\",\\"a\\":1}"}',
      '{"body":"{\\"token\\":\\"***",\\"a\\":1}"}',
    ],
    ['a quoted password', "password='hush hush', sent", "password='***', sent"],
    [
      'a password in a JavaScript or Python object literal',
      "{'password': 'hush', 'a': 1}",
      "{'password': '***', 'a': 1}",
    ],
    [
      'passwords with abbreviated or prefixed names',
      'pwd=hush;passwd=hush;DB_PASSWORD=hush',
      'pwd=***;passwd=***;DB_PASSWORD=***',
    ],
    ['a private key and a credential', 'private_key: hush, credential: hush', 'private_key: ***, credential: ***'],
    [
      'a PEM key',
      'x -----BEGIN RSA PRIVATE KEY-----\nhush\nhush\n-----END RSA PRIVATE KEY-----',
      'x -----BEGIN RSA PRIVATE KEY-----***-----END RSA PRIVATE KEY-----',
    ],
    ['the user and password of a URL', 'at https://me:hush@host/a', 'at https://***@host/a'],
    ['a URL password with special characters', 'at redis://me:hu/sh@hush@host/a, sent', 'at redis://***@host/a, sent'],
    [
      'a metadata value quoted by grpc-js',
      'Metadata string value "hush hush" contains illegal characters',
      'Metadata string value "***" contains illegal characters',
    ],
    [
      'a metadata value with quotes, quoted by grpc-js',
      'x-user: Metadata string value "{"id":7,"s":"hush-é"}" contains illegal characters',
      'x-user: Metadata string value "***" contains illegal characters',
    ],
    [
      'a truncated metadata value quoted by grpc-js',
      'Metadata string value "{"id":"hush-é',
      'Metadata string value "***',
    ],
  ])('masks %s', (_what, text, shown) => expect(maskSecrets(text)).toBe(shown));

  it('masks everything after the scheme of a URL that ends truncated text, because the removed text may contain an @ that ends a password', () => {
    expect(maskSecrets('at https://me:hush', true)).toBe('at https://***');
    expect(maskSecrets('at https://host/a')).toBe('at https://host/a');
  });

  it.each([
    'connect ECONNREFUSED 10.0.0.7:50051',
    'No connection established. Last error: null. Resolution note: https://host:443/a?b=c',
    'Received RST_STREAM with code 2 (Internal server error)',
    'maxTokens: 150, tokenized: yes, at file:///app/@a/token.js:1:2',
    "the metadata function returned an invalid 'authorization': expected printable ASCII; write a key that ends in '-bin'",
    'options.metadata.x-api-key: expected a string or an array of strings, got number',
  ])('keeps text without a secret unchanged: %s', (text) => expect(maskSecrets(text)).toBe(text));

  it.each([
    'a-',
    'a',
    ' ',
    'token: ',
    'token="',
    'token=\\"',
    'token="\\',
    'authorization: "',
    'cookie: a=b; ',
    'Bearer ',
    'eyJa.',
    '://',
    '://a@',
    'Metadata value "',
    '-----BEGIN PRIVATE KEY-----',
    'password=[',
    "'password' : ",
    '" contains illegal characters',
  ])('searches repetitions of "%s" for secrets in linear time', (part) => {
    const measureCpuMs = (length: number) => {
      const text = part.repeat(length / part.length);
      const began = process.cpuUsage();
      maskSecrets(text);
      const { user, system } = process.cpuUsage(began);
      return (user + system) / 1_000;
    };
    // In quadratic time, 16 times the length would take 256 times as long. The machine may be busy, so this test measures
    // CPU time and takes the best of three runs.
    const measureBestCpuMs = (length: number) =>
      Math.max(1, Math.min(measureCpuMs(length), measureCpuMs(length), measureCpuMs(length)));
    const [shortMs, middleMs] = [measureBestCpuMs(4_000), measureBestCpuMs(64_000)];
    expect(middleMs / shortMs).toBeLessThan(100);
    expect(measureBestCpuMs(1_000_000) / middleMs).toBeLessThan(100);
  });
});
