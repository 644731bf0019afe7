import { loadSync, type ServiceDefinition } from '@grpc/proto-loader';
import fc from 'fast-check';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { afterAll, describe, expect, it } from 'vitest';
import { seededRandom } from '../../../../test/unit-support/seeded-random.mjs';
import { canonicalMessage } from './canonical-message.js';
import { filesOf } from './file-descriptors.js';
import { messageTypeOf } from './message-type.js';

const folder = mkdtempSync(join(tmpdir(), 'canonical-'));
afterAll(() => {
  rmSync(folder, { recursive: true });
});
writeFileSync(
  join(folder, 'file.proto'),
  `syntax = "proto3"; service S { rpc M(T) returns (T); }
  message T {
    string text = 1; optional uint32 count = 2; repeated uint32 numbers = 3; repeated string names = 4;
    map<string, T> children = 5; map<uint32, string> labels = 6; T inner = 7;
    oneof choice { string word = 8; bool flag = 9; }
    repeated T list = 10; repeated fixed32 fixed = 11 [packed = false];
  }`,
);
const { M: method } = loadSync(join(folder, 'file.proto'), { oneofs: true })['S'] as ServiceDefinition;
const type = messageTypeOf(method!.path, filesOf(method!)!, 'request')!;

/** A message of the type. Absent fields are `undefined`; the entries of maps have different keys. */
interface Message {
  readonly text?: string | undefined;
  readonly count?: number | undefined;
  readonly numbers: readonly number[];
  readonly names: readonly string[];
  readonly children: readonly (readonly [string, Message])[];
  readonly labels: readonly (readonly [number, string])[];
  readonly inner?: Message | undefined;
  readonly choice?: string | boolean | undefined;
  readonly list: readonly Message[];
  readonly fixed: readonly number[];
  /** Values of the unknown fields 100, an integer, and 101, text. */
  readonly unknown: readonly (number | string)[];
}

const text = fc.constantFrom('', 'a', 'é\0');
const integer = fc.constantFrom(0, 1, 127, 128, 0xffffffff);
const entries = <K extends number | string, V>(key: fc.Arbitrary<K>, value: fc.Arbitrary<V>) =>
  fc.uniqueArray(fc.tuple(key, value), { maxLength: 3, selector: ([name]) => name });
const { message } = fc.letrec<{ message: Message }>((tie) => ({
  message: fc.record(
    {
      text: text.filter((one) => one !== ''),
      count: integer,
      numbers: fc.array(integer, { maxLength: 4 }),
      names: fc.array(text, { maxLength: 2 }),
      children: fc.oneof({ maxDepth: 1 }, fc.constant([]), entries(text, tie('message'))),
      labels: entries(integer, text),
      inner: fc.oneof({ maxDepth: 1 }, fc.constant(undefined), tie('message')),
      choice: fc.oneof(text, fc.boolean()),
      list: fc.oneof({ maxDepth: 1 }, fc.constant([]), fc.array(tie('message'), { maxLength: 2 })),
      fixed: fc.array(integer, { maxLength: 3 }),
      unknown: fc.array(fc.oneof(integer, text), { maxLength: 3 }),
    },
    { requiredKeys: ['numbers', 'names', 'children', 'labels', 'list', 'fixed', 'unknown'] },
  ),
}));

// ── an encoder that uses all freedom that the format leaves ──

function varint(value: number): number[] {
  return value < 128 ? [value] : [(value % 128) + 128, ...varint(Math.floor(value / 128))];
}
const withLength = (number: number, bytes: readonly number[] | Buffer): number[] => [
  ...varint(number * 8 + 2),
  ...varint(bytes.length),
  ...bytes,
];
const ofText = (number: number, value: string): number[] => withLength(number, Buffer.from(value));
const ofInteger = (number: number, value: number): number[] => [...varint(number * 8), ...varint(value)];
const fixed32 = (value: number): number[] => [...Buffer.from(Uint32Array.of(value).buffer)];

function encode(value: Message, random: () => number, keepsUnknown = true): number[] {
  const chance = (): boolean => random() < 0.5;
  const shuffled = <T>(items: readonly T[]): T[] =>
    items
      .map((item) => ({ item, at: random() }))
      .sort((a, b) => a.at - b.at)
      .map(({ item }) => item);
  /** Fields with one value, of which an encoder may have written another one first. */
  const last = (one: number[] | undefined, other: number[]): number[][] =>
    one === undefined ? [] : chance() ? [one] : [other, one];
  /** A list in packed runs of any length, and in single values. */
  const list = (
    number: number,
    tag: number,
    values: readonly number[],
    bytes: (value: number) => number[],
  ): number[][] => {
    const chunks: number[][] = [];
    for (let at = 0; at < values.length;) {
      const count = 1 + Math.floor(random() * (values.length - at));
      const run = values.slice(at, at + count);
      if (chance()) chunks.push(withLength(number, run.flatMap(bytes)));
      else chunks.push(...run.map((one) => [...varint(number * 8 + tag), ...bytes(one)]));
      at += count;
    }
    return chunks;
  };
  /** Entries in any order, key or value first, and empty ones left out or not. */
  const map = <K, V>(
    number: number,
    pairs: readonly (readonly [K, V])[],
    key: (key: K) => number[],
    item: (value: V) => number[],
    isEmpty: (one: K | V) => boolean,
  ): number[][] =>
    shuffled(pairs).flatMap(([name, value]) => {
      const parts = [
        ...(isEmpty(name) && chance() ? [] : [key(name)]),
        ...(isEmpty(value) && chance() ? [] : [item(value)]),
      ];
      // Of two entries with one key, the last counts.
      return last(withLength(number, shuffled(parts).flat()), withLength(number, isEmpty(name) ? [] : key(name)));
    });
  const { text, count, inner, choice } = value;
  const unknown = keepsUnknown ? value.unknown : [];
  const fields: number[][][] = [
    last(text === undefined ? undefined : ofText(1, text), ofText(1, 'other')),
    last(count === undefined ? undefined : ofInteger(2, count), ofInteger(2, 7)),
    list(3, 0, value.numbers, varint),
    value.names.map((name) => ofText(4, name)),
    map(
      5,
      value.children,
      (key) => ofText(1, key),
      (child) => withLength(2, encode(child, random, keepsUnknown)),
      (one) => one === '',
    ),
    map(
      6,
      value.labels,
      (key) => ofInteger(1, key),
      (label) => ofText(2, label),
      (one) => one === '' || one === 0,
    ),
    inner === undefined ? [] : [withLength(7, encode(inner, random, keepsUnknown))],
    choice === undefined ? [] : [typeof choice === 'string' ? ofText(8, choice) : ofInteger(9, Number(choice))],
    value.list.map((one) => withLength(10, encode(one, random, keepsUnknown))),
    list(11, 5, value.fixed, fixed32),
    unknown.filter((one) => typeof one === 'number').map((one) => ofInteger(100, one)),
    unknown.filter((one) => typeof one === 'string').map((one) => ofText(101, one)),
  ];
  // Fields in any order, also between the values of others.
  const order = shuffled(fields.flatMap((chunks, field) => chunks.map(() => field)));
  const next = fields.map((chunks) => chunks[Symbol.iterator]());
  return order.flatMap((field) => next[field]!.next().value ?? []);
}

/** A message as its receivers see it: with maps as such, absent fields as `undefined`, and unknown fields by number. */
function view({ text, count, choice, inner, children, labels, list, unknown, ...rest }: Message): object {
  return {
    ...{ ...rest, text, count, choice, inner: inner && view(inner), list: list.map(view), labels: new Map(labels) },
    children: new Map(children.map(([key, value]) => [key, view(value)])),
    unknown: ['number', 'string'].map((kind) => unknown.filter((one) => typeof one === kind)),
  };
}

const canonical = (bytes: readonly number[]): string =>
  Buffer.from(canonicalMessage(Buffer.from(bytes), type)).toString('hex');
const decoded = (hex: string): object => method!.requestDeserialize(Buffer.from(hex, 'hex'));

describe('canonicalMessage', () => {
  it('returns the same bytes for all encodings of a message, which decode as they do', () => {
    fc.assert(
      fc.property(message, fc.integer(), (value, seed) => {
        const random = seededRandom(seed);
        const [one, other] = [encode(value, random), encode(value, random)];
        expect(canonical(one)).toBe(canonical(other));
        expect(decoded(canonical(one))).toEqual(method!.requestDeserialize(Buffer.from(one)));
        expect(canonical([...Buffer.from(canonical(one), 'hex')])).toBe(canonical(one));
      }),
      { seed: 1, numRuns: 500 },
    );
  });

  it('returns other bytes for a message that differs in one field', () => {
    const fields = 'text count numbers names children labels inner choice list fixed unknown'.split(' ');
    fc.assert(
      fc.property(message, message, fc.constantFrom(...fields), fc.integer(), (value, another, field, seed) => {
        const random = seededRandom(seed);
        const changed: Message = { ...value, [field]: another[field as keyof Message] };
        const isSame = canonical(encode(value, random)) === canonical(encode(changed, random));
        expect(isSame).toBe(isDeepStrictEqual(view(value), view(changed)));
      }),
      { seed: 2, numRuns: 1_000 },
    );
  });

  it('returns the same bytes for what protobufjs encodes, which drops unknown fields', () => {
    fc.assert(
      fc.property(message, fc.integer(), (value, seed) => {
        const bytes = encode(value, seededRandom(seed), false);
        const ofProtobufjs = method!.requestSerialize(method!.requestDeserialize(Buffer.from(bytes)));
        expect(canonical([...ofProtobufjs])).toBe(canonical(bytes));
      }),
      { seed: 3, numRuns: 500 },
    );
  });

  it('merges the parts of a single message', () => {
    const parts = [...withLength(7, ofText(1, 'a')), ...withLength(7, ofInteger(2, 1))];
    expect(canonical(parts)).toBe(canonical(withLength(7, [...ofInteger(2, 1), ...ofText(1, 'a')])));
  });

  it.each([
    ['a number that does not end', [0x80]],
    ['a field without its value', [0x08]],
    ['a fixed value that is cut off', [0x5d, 1, 2, 3]],
    ['a text that is cut off', [0x0a, 2, 0x61]],
    ['a nested message that is cut off', [0x3a, 1, 0x0a]],
    ['a map entry that is cut off', [0x32, 1, 0x08]],
    ['a group', [0x0b]],
    ['an unknown wire type', [0x0e]],
  ])('throws for %s', (_name, bytes) => {
    expect(() => canonical(bytes)).toThrow(RangeError);
  });
});
