import { describe, expect, it } from 'vitest';
import { masked } from './masked.js';

describe('a text of the other side', () => {
  it.each([
    ['a token', 'refused: Bearer abc.DEF-123_x~y+z/=', 'refused: Bearer ***'],
    ['a password', 'header Basic dXNlcjpwYXNz, sent', 'header Basic ***, sent'],
    ['a JWT', 'bad eyJhbGciOi.eyJzdWIi.c2ln here', 'bad *** here'],
    ['a header', 'authorization: hush', 'authorization: ***'],
    ['a header with a scheme', '"authorization": "Bearer hush"', '"authorization": "***"'],
    ['a header with any scheme', 'got authorization: ApiKey hush and gone', 'got authorization: *** and gone'],
    ['a header with a token', 'Authorization: Token hush', 'Authorization: ***'],
    [
      'a header with parts',
      'authorization: Digest username="hush hush", response="hush", nc=1 failed',
      'authorization: *** failed',
    ],
    ['each cookie', 'cookie: a=hush; b=hush; c=hush, sent', 'cookie: ***, sent'],
    ['cookies in a list', "'set-cookie': [ 'a=hush', 'b=hush' ]", "'set-cookie': ***]"],
    ['a header in JSON', '{"x-api-key":"hush","a":1}', '{"x-api-key":"***","a":1}'],
    ['a value with quotes in it', '{"token":"hush \\"hush","a":1}', '{"token":"***","a":1}'],
    ['JSON within JSON', '{"body":"{\\"token\\":\\"hush\\",\\"a\\":1}"}', '{"body":"{\\"token\\":\\"***",\\"a\\":1}"}'],
    ['a quoted password', "password='hush hush', sent", "password='***', sent"],
    ['an object as JavaScript and Python show it', "{'password': 'hush', 'a': 1}", "{'password': '***', 'a': 1}"],
    ['a short name', 'pwd=hush;passwd=hush;DB_PASSWORD=hush', 'pwd=***;passwd=***;DB_PASSWORD=***'],
    ['a key', 'private_key: hush, credential: hush', 'private_key: ***, credential: ***'],
    [
      'a key in PEM',
      'x -----BEGIN RSA PRIVATE KEY-----\nhush\nhush\n-----END RSA PRIVATE KEY-----',
      'x -----BEGIN RSA PRIVATE KEY-----***-----END RSA PRIVATE KEY-----',
    ],
    ['a URL', 'at https://me:hush@host/a', 'at https://***@host/a'],
    ['a URL with any password', 'at redis://me:hu/sh@hush@host/a, sent', 'at redis://***@host/a, sent'],
    [
      'what grpc-js quotes',
      'Metadata string value "hush hush" contains illegal characters',
      'Metadata string value "***" contains illegal characters',
    ],
    [
      'what grpc-js quotes, quotes and all',
      'x-user: Metadata string value "{"id":7,"s":"hush-é"}" contains illegal characters',
      'x-user: Metadata string value "***" contains illegal characters',
    ],
    ['what grpc-js quotes, that was cut', 'Metadata string value "{"id":"hush-é', 'Metadata string value "***'],
  ])('has %s masked', (_what, text, shown) => expect(masked(text)).toBe(shown));

  it('that was cut has a URL at its end masked: an @ may have followed', () => {
    expect(masked('at https://me:hush', true)).toBe('at https://***');
    expect(masked('at https://host/a')).toBe('at https://host/a');
  });

  it.each([
    'connect ECONNREFUSED 10.0.0.7:50051',
    'No connection established. Last error: null. Resolution note: https://host:443/a?b=c',
    'Received RST_STREAM with code 2 (Internal server error)',
    'maxTokens: 150, tokenized: yes, at file:///app/@a/token.js:1:2',
  ])('without a secret is as it was: %s', (text) => expect(masked(text)).toBe(text));

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
  ])('of many "%s" takes time as it is long, not as its square', (part) => {
    const timeOf = (length: number) => {
      const text = part.repeat(length / part.length);
      const began = process.cpuUsage();
      masked(text);
      const { user, system } = process.cpuUsage(began);
      return (user + system) / 1_000;
    };
    // 16 times the text: as a square it would be 256 times the time. CPU time, since the machine has other work too; the best of three.
    const best = (length: number) => Math.max(1, Math.min(timeOf(length), timeOf(length), timeOf(length)));
    const [short, middle] = [best(4_000), best(64_000)];
    expect(middle / short).toBeLessThan(100);
    expect(best(1_000_000) / middle).toBeLessThan(100);
  });
});
