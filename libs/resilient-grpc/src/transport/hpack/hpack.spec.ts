import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { HpackDecoder } from './hpack-decoder.js';
import { encodedBound, encodeFields, listSize } from './hpack-encoder.js';
import { HpackError } from './hpack-error.js';
import { decodedBound, decodeHuffman } from './huffman.js';

const bytesOf = (hex: string) => Buffer.from(hex.replaceAll(/\s/g, ''), 'hex');

/** The fields of a response or request, pseudo-header fields first. */
function decoded(decoder: HpackDecoder, hex: string): string[] {
  const bytes = bytesOf(hex);
  const { status, method, scheme, path, authority, fields } = decoder.decode(bytes, 0, bytes.length);
  const pseudo = { status, method, scheme, path, authority };
  return [...Object.values(pseudo).filter((value) => value !== undefined), ...fields];
}

const decoderOf = (tableSize = 4_096, listLimit = 65_536) => new HpackDecoder(tableSize, listLimit);

describe('decoder', () => {
  // RFC 7541, appendix C.
  it('decodes the requests of RFC 7541, appendix C.3, without Huffman codes', () => {
    const decoder = decoderOf();
    expect(decoded(decoder, '8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d')).toEqual([
      'GET',
      'http',
      '/',
      'www.example.com',
    ]);
    expect(decoded(decoder, '8286 84be 5808 6e6f 2d63 6163 6865')).toEqual([
      'GET',
      'http',
      '/',
      'www.example.com',
      'cache-control',
      'no-cache',
    ]);
    expect(decoded(decoder, '8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65')).toEqual([
      'GET',
      'https',
      '/index.html',
      'www.example.com',
      'custom-key',
      'custom-value',
    ]);
  });

  it('decodes the responses of RFC 7541, appendix C.6, with Huffman codes and evictions', () => {
    const decoder = decoderOf();
    decoded(decoder, '3f e1 01'); // a table of 256 bytes
    expect(
      decoded(
        decoder,
        `4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8
         e9ae 82ae 43d3`,
      ),
    ).toEqual([
      '302',
      'cache-control',
      'private',
      'date',
      'Mon, 21 Oct 2013 20:13:21 GMT',
      'location',
      'https://www.example.com',
    ]);
    expect(decoded(decoder, '4883 640e ffc1 c0bf')).toEqual([
      '307',
      'cache-control',
      'private',
      'date',
      'Mon, 21 Oct 2013 20:13:21 GMT',
      'location',
      'https://www.example.com',
    ]);
    expect(
      decoded(
        decoder,
        `88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b
         3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07`,
      ),
    ).toEqual([
      '200',
      'cache-control',
      'private',
      'date',
      'Mon, 21 Oct 2013 20:13:22 GMT',
      'location',
      'https://www.example.com',
      'content-encoding',
      'gzip',
      'set-cookie',
      'foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1',
    ]);
  });

  it.each([
    ['the index 0', '80'],
    ['an index beyond the table', 'be'],
    ['a name index beyond the table', '7f 80 01 61'],
    ['a truncated integer', 'ff'],
    ['an integer of 2^28', 'ff 81 ff ff ff 01'],
    ['a truncated string', '40 05 61 62'],
    ['a string without a length', '40 01 61'],
    ['a Huffman code of EOS', '40 01 61 84 ff ff ff ff'],
    ['a Huffman padding of a byte', '40 01 61 82 1f ff'],
    ['a Huffman padding of zeros', '40 01 61 81 18'],
    ['a table size above the limit', '3f e2 1f'],
    ['a table size update after a field', '82 20'],
  ])('rejects %s', (_what, hex) => {
    const bytes = bytesOf(hex);
    expect(() => decoderOf().decode(bytes, 0, bytes.length)).toThrow(HpackError);
  });

  it('drops the fields beyond the size limit, but keeps the table in step', () => {
    const decoder = decoderOf(4_096, 80);
    const bytes = bytesOf('40 01 61 01 62 40 01 63 01 64 40 01 65 01 66');
    const block = decoder.decode(bytes, 0, bytes.length);
    expect([block.isTooLarge, block.size, block.fields]).toEqual([true, 102, ['a', 'b', 'c', 'd']]);
    expect(decoded(decoder, 'be c0')).toEqual(['e', 'f', 'a', 'b']);
  });

  it.each([
    ['upper case in a name', ['A', '1']],
    ['a space in a name', ['a b', '1']],
    ['an empty name', ['', '1']],
    ['a line break in a pseudo-header field', [':status', '200\n']],
    ['a field of HTTP/1', ['connection', 'close']],
    ['an unknown pseudo-header field', [':other', '1']],
    ['a pseudo-header field after a field', ['a', '1', ':status', '200']],
    ['a repeated pseudo-header field', [':status', '200', ':status', '200']],
  ])('finds %s, also if the field is repeated byte by byte', (_what, fields) => {
    const decoder = decoderOf();
    const bytes = Buffer.alloc(encodedBound(fields));
    const end = encodeFields(bytes, 0, fields);
    for (let round = 0; round < 3; round++) expect(decoder.decode(bytes, 0, end).malformed).toBeDefined();
  });

  // As node:http2 does, except for the white space.
  it('drops fields with control characters in the value, and keeps tabs, other bytes, and white space around values', () => {
    const decoder = decoderOf();
    const characters = Array.from({ length: 256 }, (_, code) => String.fromCharCode(code));
    const isKept = (code: number) => code === 0x09 || (code >= 0x20 && code !== 0x7f);
    const fields = ['grpc-message', ' try again: ', ...characters.flatMap((character) => ['a', `1${character}2`])];
    // Within the limit of a block.
    for (const some of [fields.slice(0, 400), fields.slice(400)]) {
      const bytes = Buffer.alloc(encodedBound(some));
      const end = encodeFields(bytes, 0, some);
      for (let round = 0; round < 3; round++) {
        const block = decoder.decode(bytes, 0, end);
        expect(block.malformed).toBeUndefined();
        expect(block.fields).toEqual(some.filter((_, at) => isKept(some[at | 1]!.charCodeAt(1))));
      }
    }
  });

  it('drops the fields beyond the 256th, but keeps the table in step', () => {
    const decoder = decoderOf();
    const fields = Array.from({ length: 256 }, () => ['x-bin', 'YWJj']).flat();
    const bytes = Buffer.alloc(encodedBound(fields) + 10);
    const end = encodeFields(bytes, 0, fields);
    const whole = decoder.decode(bytes, 0, end);
    expect([whole.isTooLarge, whole.fields]).toEqual([false, fields]);
    const more = bytesOf('40 01 65 01 66');
    const block = decoder.decode(Buffer.concat([bytes.subarray(0, end), more]), 0, end + more.length);
    expect([block.isTooLarge, block.fields]).toEqual([true, fields]);
    expect(block.excess).toBe('257 vs 256 fields');
    expect(decoded(decoder, 'be')).toEqual(['e', 'f']);
  });

  it('counts the parts of binary values, which become values of their own', () => {
    const decoder = decoderOf();
    const blockOf = (...fields: string[]) => {
      const bytes = Buffer.alloc(encodedBound(fields));
      return decoder.decode(bytes, 0, encodeFields(bytes, 0, fields));
    };
    expect(blockOf('x-bin', 'YQ==,'.repeat(3_000)).isTooLarge).toBe(false);
    expect(blockOf('x-text', ','.repeat(4_000)).isTooLarge).toBe(false);
    expect(blockOf('x-bin', ','.repeat(5_000)).isTooLarge).toBe(true);
  });

  it('tells values that are not printable ASCII, also of fields from the table and of those that it has kept', () => {
    const decoder = decoderOf();
    const isUnusual = (hex: string) => {
      const bytes = bytesOf(hex);
      return decoder.decode(bytes, 0, bytes.length).hasUnusual;
    };
    // Without Huffman code: 'x' with the values '~', ' ', a tab, 0x80, and 0xff; and the one of 0x80 in the table.
    expect(['7e', '20', '09', '80', 'ff'].map((value) => isUnusual(`00 01 78 01 ${value}`))).toEqual([
      false,
      false,
      true,
      true,
      true,
    ]);
    expect([isUnusual('40 01 78 01 80'), isUnusual('be')]).toEqual([true, true]);
    expect([isUnusual('00 01 78 01 80'), isUnusual('00 01 78 01 20'), isUnusual('82')]).toEqual([true, false, false]);
    // With it: '~' is 0x1ffd in 13 bits, and 0xff is 0x3ffffee in 26.
    expect([isUnusual('00 01 78 82 ff ef'), isUnusual('00 01 78 84 ff ff fb bf')]).toEqual([false, true]);
  });

  it('finds fields malformed whose names in the table are, however often they are referred to', () => {
    const decoder = decoderOf();
    const blockOf = (hex: string) => {
      const bytes = bytesOf(hex);
      return decoder.decode(bytes, 0, bytes.length);
    };
    expect(blockOf('40 01 41 01 31').malformed).toMatch('field name');
    expect(blockOf('0f 2f 01 32').malformed).toMatch('field name');
    expect(blockOf('40 01 61 01 31 0f 2f 01 00').fields).toEqual(['a', '1']);
    expect(blockOf('0f 2a 01 31').malformed).toMatch('transfer-encoding');
  });

  it.each([
    '82 82 88 88 82',
    '82 be bf 40 01 63 01 64 be c0',
    '88 ff 00',
    '82 80',
    '80',
    '82 c0',
    'be 40 01 63 01 64 c0',
  ])('counts and checks fields that are not needed like others: %s', (hex) => {
    const bytes = bytesOf(hex);
    const [needed, unneeded] = [true, false].map((isRead) => {
      const decoder = decoderOf();
      decoded(decoder, '40 01 61 01 62 40 03 78 79 7a 01 62');
      try {
        const { size, count } = decoder.decode(bytes, 0, bytes.length, isRead);
        return [size, count, decoded(decoder, 'be bf')];
      } catch (error) {
        return String(error);
      }
    });
    expect(unneeded).toEqual(needed);
  });

  it('counts fields beyond the limit with the length of their names in the table', () => {
    const decoder = decoderOf(4_096, 5_000);
    const name = Buffer.concat([Buffer.from([0x40, 0x7f, 0xa1, 0x1e]), Buffer.alloc(4_000, 'a'), Buffer.from([0])]);
    const bytes = Buffer.concat([name, Buffer.from('0f2f00'.repeat(3), 'hex')]);
    expect(decoder.decode(bytes, 0, bytes.length).size).toBeGreaterThan(4 * 4_000);
  });

  it('reads a repeated literal with the name of a dynamic entry by the current table', () => {
    const decoder = decoderOf();
    expect(decoded(decoder, '40 01 61 01 31')).toEqual(['a', '1']);
    expect(decoded(decoder, '0f 2f 01 32')).toEqual(['a', '2']);
    expect(decoded(decoder, '40 01 62 01 31')).toEqual(['b', '1']);
    expect(decoded(decoder, '0f 2f 01 32')).toEqual(['b', '2']);
  });

  it('holds little for a client that sends many fields once', () => {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const held = () => {
      collect();
      const { heapUsed, external } = process.memoryUsage();
      return heapUsed + external;
    };
    const before = held();
    const decoders = Array.from({ length: 300 }, (_, client) => {
      const decoder = decoderOf();
      for (let index = 0; index < 200; index++) {
        const name = `x-${String(client)}-${String(index)}`.padEnd(20, 'a');
        const bytes = Buffer.from(`\x00\x14${name}\x18${name}aaaa`, 'latin1');
        decoder.decode(bytes, 0, bytes.length);
      }
      return decoder;
    });
    expect((held() - before) / decoders.length).toBeLessThan(2_000);
  });

  it('returns what a decoder without kept fields returns, for random blocks with repeated and inserted fields', () => {
    const text = fc.stringMatching(/^[a-z0-9-]{1,12}$/);
    const field = fc.record({
      name: text,
      value: text,
      kind: fc.constantFrom(0x40, 0x00, 0x10),
      repeats: fc.integer({ min: 1, max: 3 }),
    });
    fc.assert(
      fc.property(fc.array(fc.array(field, { maxLength: 8 }), { maxLength: 20 }), (blocks) => {
        const decoder = decoderOf(256);
        for (const block of blocks) {
          const expected = block.flatMap(({ name, value, repeats }) => Array(repeats).fill([name, value]).flat());
          const parts = block.flatMap(({ name, value, kind, repeats }) => {
            const literal = [kind, name.length, ...Buffer.from(name), value.length, ...Buffer.from(value)];
            return Array<number[]>(repeats).fill(literal).flat();
          });
          const bytes = Buffer.from(parts);
          expect(decoder.decode(bytes, 0, bytes.length).fields).toEqual(expected);
        }
      }),
    );
  });
});

/** An encoder with a dynamic table, for round trips: fields that it has inserted are sent by their index. */
class IndexingEncoder {
  private entries: (readonly [string, string])[] = [];
  private maxSize = 4_096;

  encode(tableSize: number | undefined, fields: readonly { name: string; value: string; kind: number }[]): Buffer {
    const bytes: number[] = [];
    if (tableSize !== undefined) {
      this.maxSize = tableSize;
      this.evict();
      integer(bytes, 0x20, 0x1f, tableSize);
    }
    for (const { name, value, kind } of fields) {
      const known = this.entries.findIndex((entry) => entry[0] === name && entry[1] === value);
      if (known >= 0) integer(bytes, 0x80, 0x7f, 62 + known);
      else {
        const named = this.entries.findIndex((entry) => entry[0] === name);
        integer(bytes, kind, kind === 0x40 ? 0x3f : 0x0f, named < 0 ? 0 : 62 + named);
        for (const text of named < 0 ? [name, value] : [value]) {
          integer(bytes, 0, 0x7f, text.length);
          bytes.push(...Buffer.from(text));
        }
        if (kind === 0x40) this.entries.unshift([name, value]);
        this.evict();
      }
    }
    return Buffer.from(bytes);
  }

  private evict(): void {
    let size = 0;
    const end = this.entries.findIndex(([name, value]) => (size += name.length + value.length + 32) > this.maxSize);
    if (end >= 0) this.entries.length = end;
  }
}

function integer(target: number[], pattern: number, mask: number, value: number): void {
  if (value < mask) target.push(pattern | value);
  else {
    target.push(pattern | mask);
    let left = value - mask;
    for (; left > 0x7f; left >>= 7) target.push(0x80 | (left & 0x7f));
    target.push(left);
  }
}

it('decodes what an encoder with a table of any size encodes, in random blocks', () => {
  const field = fc.record({
    name: fc.constantFrom('a', 'b', 'x-long-name-of-a-field', 'grpc-status'),
    value: fc.oneof(fc.constantFrom('', '0', '1'), fc.stringMatching(/^[ -~]{0,200}$/)),
    kind: fc.constantFrom(0x40, 0x00, 0x10),
  });
  const block = fc.record({
    tableSize: fc.option(fc.integer({ min: 0, max: 4_096 }), { nil: undefined }),
    fields: fc.array(field, { maxLength: 10 }),
  });
  fc.assert(
    fc.property(fc.array(block, { maxLength: 30 }), (blocks) => {
      const [encoder, decoder] = [new IndexingEncoder(), decoderOf(0)];
      for (const { tableSize, fields } of blocks) {
        const bytes = encoder.encode(tableSize, fields);
        expect(decoder.decode(bytes, 0, bytes.length).fields).toEqual(
          fields.flatMap(({ name, value }) => [name, value]),
        );
      }
    }),
    { numRuns: 300 },
  );
});

describe('encoder', () => {
  const latin1 = fc.string({
    unit: fc.integer({ min: 0x21, max: 0xff }).map((code) => String.fromCharCode(code === 0x7f ? 0x09 : code)),
    maxLength: 300,
  });
  const name = fc.oneof(
    fc.constantFrom('te', 'authorization', 'content-type', 'grpc-timeout'),
    fc.stringMatching(/^x-[a-z]{1,20}$/),
  );

  it('encodes fields that the decoder reads, within the bound', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(name, latin1), { maxLength: 256 }), (pairs) => {
        const fields = pairs.flat();
        const bytes = Buffer.alloc(encodedBound(fields));
        const end = encodeFields(bytes, 0, fields);
        expect(end).toBeLessThanOrEqual(bytes.length);
        const block = decoderOf(0, 10_000_000).decode(bytes, 0, end);
        expect(block.fields).toEqual(fields);
        expect(block.size).toBe(listSize(fields));
      }),
    );
  });

  it('encodes static fields as one byte, and forbids the indexing of credentials', () => {
    const bytes = Buffer.alloc(100);
    expect(bytes.subarray(0, encodeFields(bytes, 0, [':method', 'POST', ':scheme', 'http']))).toEqual(bytesOf('83 86'));
    expect(encodeFields(bytes, 0, ['authorization', 'x'])).toBe(4);
    expect(bytes[0]! & 0xf0).toBe(0x10);
  });
});

it('decodes any bytes as Huffman codes, or rejects them', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
      const target = new Uint8Array(decodedBound(bytes.length));
      try {
        expect(decodeHuffman(bytes, 0, bytes.length, target)).toBeLessThanOrEqual(target.length);
      } catch (error) {
        expect(error).toBeInstanceOf(HpackError);
      }
    }),
  );
});
