import { describe, expect, it } from 'vitest';
import { maskSecrets } from './mask-secrets.js';

describe('maskSecrets', () => {
  it.each([
    ['a token', 'refused: Bearer abc.DEF-123_x~y+z/=', 'refused: Bearer ***'],
    ['a password', 'header Basic dXNlcjpwYXNz, sent', 'header Basic ***, sent'],
    ['a JWT', 'bad eyJhbGciOi.eyJzdWIi.c2ln here', 'bad *** here'],
    ['a header', 'authorization: hush', 'authorization: ***'],
    ['a header with a scheme', '"authorization": "Bearer hush"', '"authorization": "***"'],
    ['a header with any scheme', 'got authorization: ApiKey hush and more', 'got authorization: *** and more'],
    ['a header with a token', 'Authorization: Token hush', 'Authorization: ***'],
    [
      'a header with parameters',
      'authorization: Digest username="hush hush", response="hush", nc=1 failed',
      'authorization: *** failed',
    ],
    ['every cookie', 'cookie: a=hush; b=hush; c=hush, sent', 'cookie: ***, sent'],
    ['cookies in a list', "'set-cookie': [ 'a=hush', 'b=hush' ]", "'set-cookie': ***]"],
    ['a header in JSON', '{"x-api-key":"hush","a":1}', '{"x-api-key":"***","a":1}'],
    ['a value with quotes in it', '{"token":"hush \\"hush","a":1}', '{"token":"***","a":1}'],
    ['JSON within JSON', '{"body":"{\\"token\\":\\"hush\\",\\"a\\":1}"}', '{"body":"{\\"token\\":\\"***",\\"a\\":1}"}'],
    ['a quoted password', "password='hush hush', sent", "password='***', sent"],
    ['a value in a JavaScript or Python object literal', "{'password': 'hush', 'a': 1}", "{'password': '***', 'a': 1}"],
    ['values of abbreviated names', 'pwd=hush;passwd=hush;DB_PASSWORD=hush', 'pwd=***;passwd=***;DB_PASSWORD=***'],
    ['a private key and a credential', 'private_key: hush, credential: hush', 'private_key: ***, credential: ***'],
    [
      'a PEM key',
      'x -----BEGIN RSA PRIVATE KEY-----\nhush\nhush\n-----END RSA PRIVATE KEY-----',
      'x -----BEGIN RSA PRIVATE KEY-----***-----END RSA PRIVATE KEY-----',
    ],
    ['the user and password of a URL', 'at https://me:hush@host/a', 'at https://***@host/a'],
    ['a URL password with special characters', 'at redis://me:hu/sh@hush@host/a, sent', 'at redis://***@host/a, sent'],
    [
      'a value quoted by grpc-js',
      'Metadata string value "hush hush" contains illegal characters',
      'Metadata string value "***" contains illegal characters',
    ],
    [
      'a value with quotes, quoted by grpc-js',
      'x-user: Metadata string value "{"id":7,"s":"hush-é"}" contains illegal characters',
      'x-user: Metadata string value "***" contains illegal characters',
    ],
    ['a truncated value quoted by grpc-js', 'Metadata string value "{"id":"hush-é', 'Metadata string value "***'],
  ])('masks %s', (_what, text, shown) => expect(maskSecrets(text)).toBe(shown));

  it('masks a URL at the end of truncated text, because an @ may have followed', () => {
    expect(maskSecrets('at https://me:hush', true)).toBe('at https://***');
    expect(maskSecrets('at https://host/a')).toBe('at https://host/a');
  });

  it.each([
    'connect ECONNREFUSED 10.0.0.7:50051',
    'No connection established. Last error: null. Resolution note: https://host:443/a?b=c',
    'Received RST_STREAM with code 2 (Internal server error)',
    'maxTokens: 150, tokenized: yes, at file:///app/@a/token.js:1:2',
  ])('keeps text without a secret unchanged: %s', (text) => expect(maskSecrets(text)).toBe(text));

  it.each([
    'a-',
    'a',
    ' ',
    'token',
    'token ',
    'token: ',
    'token="',
    'token=\\"',
    'token="\\',
    'authorization: a,b=',
    'authorization: "',
    'cookie: a=b; ',
    'Bearer ',
    'eyJ',
    'eyJa.',
    '://',
    '://a@',
    'Metadata value "',
    '-----BEGIN PRIVATE KEY-----',
    '-----BEGIN ',
    'password=[',
    "'password' : ",
    '" contains illegal characters',
  ])('searches repetitions of "%s" for secrets in linear time', (part) => {
    const timeOf = (length: number) => {
      const text = part.repeat(length / part.length);
      const began = process.cpuUsage();
      maskSecrets(text);
      const { user, system } = process.cpuUsage(began);
      return (user + system) / 1_000;
    };
    // In quadratic time, 16 times the length would take 256 times as long. The machine may be busy, so this test measures
    // CPU time and takes the best of three runs.
    const best = (length: number) => Math.max(1, Math.min(timeOf(length), timeOf(length), timeOf(length)));
    const [short, middle] = [best(4_000), best(64_000)];
    expect(middle / short).toBeLessThan(100);
    expect(best(1_000_000) / middle).toBeLessThan(100);
  });
});
