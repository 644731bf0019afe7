import { Metadata } from '@grpc/grpc-js';
import fc from 'fast-check';
import { beforeEach, expect, it, vi } from 'vitest';
import { HeaderBlock } from '../../transport/hpack/header-block.js';
import { fieldsOf, metadataOf } from './header-fields.js';

/** grpc-js logs errors to it. */
const log = vi.spyOn(console, 'error').mockReturnValue();

beforeEach(() => {
  log.mockClear();
});

type Pairs = readonly (readonly [name: string, value: string])[];

function blockOf(pairs: Pairs): HeaderBlock {
  const block = new HeaderBlock(1_000_000);
  for (const [name, value] of pairs) block.add({ name, value, isUnusual: !/^[ -~]*$/.test(value) });
  return block;
}

/** What an application gets from `node:http2` and grpc-js. */
function expected(pairs: Pairs): Metadata {
  const headers = Object.create(null) as Record<string, string | string[]>;
  for (const [name, value] of pairs) {
    const earlier = headers[name];
    if (name === 'set-cookie') headers[name] = Array.isArray(earlier) ? [...earlier, value] : [value];
    else if (earlier === undefined) headers[name] = value;
    else if (name !== 'authorization') headers[name] = `${String(earlier)}${name === 'cookie' ? ';' : ','} ${value}`;
  }
  return Metadata.fromHttp2Headers(headers);
}

it('returns the metadata that grpc-js returns, and logs nothing of what both drop', () => {
  const name = fc.constantFrom(
    ...['x-a', 'x-b', 'x-bin', 'grpc-x-bin', 'set-cookie', 'cookie', 'authorization', '0', '__proto__'],
    ...['x/a', 'x(-bin', 'ä', ':x'],
  );
  const byte = fc.integer({ min: 0, max: 255 }).map((code) => String.fromCharCode(code));
  const value = fc.oneof(
    fc.stringMatching(/^[ -~]{0,8}$/),
    fc.string({ unit: byte, maxLength: 8 }),
    fc.base64String({ maxLength: 8 }).map((text) => ` ${text},${text}\u00a0`),
  );
  fc.assert(
    fc.property(fc.array(fc.tuple(name, value), { maxLength: 12 }), (pairs) => {
      const metadata = metadataOf(blockOf(pairs));
      expect(log).not.toHaveBeenCalled();
      expect(metadata).toEqual(expected(pairs));
      log.mockClear();
    }),
    { numRuns: 2_000 },
  );
});

it('logs no credential that metadata cannot contain', () => {
  expect(metadataOf(blockOf([['authorization', 'Bearer s3cr\u00e9t\u001b[2J']])).getMap()).toEqual({});
  expect(log).not.toHaveBeenCalled();
});

it('omits fields', () => {
  const pairs = [
    ['te', 'trailers'],
    ['x-a', '1'],
  ] as const;
  expect(metadataOf(blockOf(pairs), new Set(['te'])).getMap()).toEqual({ 'x-a': '1' });
});

it('copies each of many cookies once', () => {
  const cookies = Array.from({ length: 100_000 }, () => ['set-cookie', 'a'] as const);
  // Copying all earlier ones for each takes minutes.
  expect(metadataOf(blockOf(cookies)).get('set-cookie')).toHaveLength(cookies.length);
});

it('sends a credential that earlier releases of grpc-js return in a list, and rejects several', () => {
  const metadata = new Metadata();
  metadata.add('authorization', 'a');
  const lists = () => ({ authorization: metadata.get('authorization') }) as never;
  vi.spyOn(metadata, 'toHttp2Headers').mockImplementation(lists);
  expect(fieldsOf(metadata)).toEqual(['authorization', 'a']);
  metadata.add('authorization', 'b');
  expect(() => fieldsOf(metadata)).toThrow('must only have a single value');
});
