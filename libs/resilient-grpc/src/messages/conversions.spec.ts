import { loadSync, type MethodDefinition, type ServiceDefinition } from '@grpc/proto-loader';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { wrappers, type IWrapper } from 'protobufjs';
import { afterAll, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import type { UnsentField } from '../call/call-event.js';
import { checkedSerializer } from './checked-serializer.js';
import { filesOf } from './file-descriptors.js';

const folder = mkdtempSync(join(tmpdir(), 'values-'));
afterAll(() => {
  rmSync(folder, { recursive: true });
});
const file = join(folder, 'values.proto');
const imports = ['timestamp', 'duration', 'field_mask', 'struct', 'wrappers', 'any'];
writeFileSync(
  file,
  `syntax = "proto3"; package v;
  ${imports.map((name) => `import "google/protobuf/${name}.proto";`).join('\n')}
  service S { rpc Send(Values) returns (Values); rpc Wrap(google.protobuf.Any) returns (google.protobuf.Value); }
  enum Color { RED = 0; BLUE = 1; }
  message Item { string name = 1; int64 count = 2; google.protobuf.Timestamp at = 3; repeated Item parts = 4; }
  message Values {
    string text = 1; int32 int32 = 2; int64 int64 = 3; uint64 uint64 = 4; Color color = 5; Item item = 6;
    repeated int64 int64List = 7; map<string, int64> int64Map = 8;
    google.protobuf.Timestamp timestamp = 10; repeated google.protobuf.Timestamp timestampList = 11;
    map<string, google.protobuf.Timestamp> timestampMap = 12;
    google.protobuf.Duration duration = 13; google.protobuf.FieldMask mask = 14;
    google.protobuf.Struct struct = 15; google.protobuf.ListValue list = 16; google.protobuf.Value value = 17;
    repeated google.protobuf.Value valueList = 18; map<string, google.protobuf.Value> valueMap = 19;
    google.protobuf.StringValue stringValue = 20; google.protobuf.BoolValue boolValue = 21;
    google.protobuf.BytesValue bytesValue = 22; google.protobuf.Int64Value int64Value = 23;
    google.protobuf.UInt32Value uint32Value = 24;
    map<bool, int32> byBool = 31; map<int32, int32> byInt = 32; map<uint64, string> byLong = 33;
    google.protobuf.Any any = 34; oneof choice { google.protobuf.Timestamp when = 35; string never = 36; }
  }`,
);

const SERVICE = loadSync(file, { longs: String, enums: String, json: true, bytes: String })['v.S'] as ServiceDefinition;
const SEND = SERVICE['Send'] as MethodDefinition<object, object>;

type Direction = 'request' | 'response';

/** Returns a function that sends a message through the checked serializer, and what arrives, or the error. */
function sender(direction: Direction = 'request', { rejects = false, method = SEND } = {}) {
  const found: UnsentField[] = [];
  const events = { wanted: true, emit: (event: UnsentField) => void found.push(event) };
  const write = direction === 'request' ? method.requestSerialize : method.responseSerialize;
  const read = direction === 'request' ? method.requestDeserialize : method.responseDeserialize;
  const serialize = checkedSerializer({ path: method.path, files: filesOf(method) }, write, direction, {
    events,
    rejects,
  });
  return { send: (message: unknown) => read(serialize(message as object)) as Record<string, any>, found };
}

/** Runs a test as in production, where messages that need no change skip the inspection, or as in development. */
function inEnvironment(environment: string) {
  vi.stubEnv('NODE_ENV', environment);
  onTestFinished(() => {
    vi.unstubAllEnvs();
  });
}

beforeEach(() => {
  inEnvironment('production');
});

describe('conversions', () => {
  it.each<[what: string, given: object, arrives: object]>([
    ['a Date', { timestamp: new Date(1_500) }, { timestamp: { seconds: '1', nanos: 500_000_000 } }],
    ['a Date before 1970', { timestamp: new Date(-1) }, { timestamp: { seconds: '-1', nanos: 999_000_000 } }],
    ['ISO text', { timestamp: '1970-01-01T00:00:02.000000003Z' }, { timestamp: { seconds: '2', nanos: 3 } }],
    ['ISO text with a zone', { timestamp: '1970-01-01T01:00:02+01:00' }, { timestamp: { seconds: '2', nanos: 0 } }],
    ['seconds', { duration: '3s' }, { duration: { seconds: '3', nanos: 0 } }],
    ['fractions of seconds', { duration: '-1.5s' }, { duration: { seconds: '-1', nanos: -500_000_000 } }],
    ['text of a FieldMask', { mask: 'a,b_c.dE' }, { mask: { paths: ['a', 'b_c.d_e'] } }],
    ['paths of a FieldMask', { mask: ['a', 'bC'] }, { mask: { paths: ['a', 'bC'] } }],
    ['an empty FieldMask', { mask: '' }, { mask: {} }],
    ['a bare string', { stringValue: '' }, { stringValue: { value: '' } }],
    ['a bare boolean', { boolValue: true }, { boolValue: { value: true } }],
    ['a bare Buffer', { bytesValue: Uint8Array.of(1) }, { bytesValue: { value: 'AQ==' } }],
    ['a bare bigint', { int64Value: 2n ** 60n }, { int64Value: { value: String(2n ** 60n) } }],
    ['a wrapped bigint', { uint32Value: { value: 7n } }, { uint32Value: { value: 7 } }],
    [
      'bigints',
      { int32: -5n, uint64: 2n ** 64n - 1n, color: 1n },
      { int32: -5, uint64: String(2n ** 64n - 1n), color: 'BLUE' },
    ],
    [
      'a bigint in a list and a map',
      { int64List: [1n], int64Map: { a: -2n } },
      { int64List: ['1'], int64Map: { a: '-2' } },
    ],
    ['the key false', { byBool: { true: 1, false: 2 } }, { byBool: { true: 1, false: 2 } }],
    ['spaces around a long number', { int64: ' 1234567890123 ' }, { int64: '1234567890123' }],
    [
      'a Date in a list',
      { timestampList: [{ seconds: 1 }, new Date(0)] },
      { timestampList: [{ seconds: '1' }, { seconds: '0', nanos: 0 }] },
    ],
    [
      'a Date in a map',
      { timestampMap: { __proto__x: new Date(0) } },
      { timestampMap: { __proto__x: { seconds: '0', nanos: 0 } } },
    ],
    ['a Date in a oneof', { when: new Date(0) }, { when: { seconds: '0', nanos: 0 } }],
    [
      'a Date in nested messages',
      { item: { name: 'x', parts: [{ name: 'y', at: new Date(0) }, { name: 'z' }] } },
      { item: { name: 'x', parts: [{ name: 'y', at: { seconds: '0', nanos: 0 } }, { name: 'z' }] } },
    ],
    [
      'a Date in an Any',
      { any: { '@type': 'x/v.Item', name: 'y', at: new Date(0) } },
      { any: { '@type': 'x/v.Item', name: 'y', at: { seconds: '0', nanos: 0 } } },
    ],
    [
      'JSON data',
      { struct: { a: null, b: [1, 'x', undefined], c: { d: true, e: undefined }, f: new Date(0), fields: 1 } },
      {
        struct: {
          fields: {
            a: { nullValue: 'NULL_VALUE' },
            b: { listValue: { values: [{ numberValue: 1 }, { stringValue: 'x' }, { nullValue: 'NULL_VALUE' }] } },
            c: { structValue: { fields: { d: { boolValue: true } } } },
            f: { stringValue: '1970-01-01T00:00:00.000Z' },
            fields: { numberValue: 1 },
          },
        },
      },
    ],
    [
      'JSON data whose only key is fields',
      { struct: { fields: { a: 1 } } },
      { struct: { fields: { fields: { structValue: { fields: { a: { numberValue: 1 } } } } } } },
    ],
    ['a Struct', { struct: { fields: { a: { numberValue: 1 } } } }, { struct: { fields: { a: { numberValue: 1 } } } }],
    ['an empty Struct', { struct: {} }, { struct: {} }],
    [
      'a Struct with a Value without a kind',
      { struct: { fields: { a: { numberValue: 1 }, b: {} } } },
      { struct: { fields: { a: { numberValue: 1 }, b: {} } } },
    ],
    ['a ListValue with a Value without a kind', { list: { values: [{}] } }, { list: { values: [{}] } }],
    ['a Value', { value: { stringValue: 'x' } }, { value: { stringValue: 'x' } }],
    [
      'values',
      { value: 'x', valueList: [1, null], valueMap: { a: [] } },
      {
        value: { stringValue: 'x' },
        valueList: [{ numberValue: 1 }, { nullValue: 'NULL_VALUE' }],
        valueMap: { a: { listValue: {} } },
      },
    ],
    ['a list', { list: [1, 'x'] }, { list: { values: [{ numberValue: 1 }, { stringValue: 'x' }] } }],
    [
      'a ListValue',
      { list: { values: [{ numberValue: 1 }, 'x'] } },
      { list: { values: [{ numberValue: 1 }, { stringValue: 'x' }] } },
    ],
  ])('converts %s, without changing the given message', (_, given, arrives) => {
    const before = structuredClone(given);
    for (const direction of ['request', 'response'] as const) {
      for (const environment of ['production', 'development']) {
        inEnvironment(environment);
        const { send, found } = sender(direction);
        expect(send(given)).toEqual(arrives);
        expect(found).toEqual([]);
      }
    }
    expect(given).toEqual(before);
  });

  it('converts a value that is the message', () => {
    const { send } = sender('response', { method: SERVICE['Wrap'] as MethodDefinition<object, object> });
    expect(send(['x'])).toEqual({ listValue: { values: [{ stringValue: 'x' }] } });
    expect(send('x')).toEqual({ stringValue: 'x' });
  });

  it('keeps extensions beside a converted value', () => {
    const extended = join(folder, 'extended.proto');
    writeFileSync(
      extended,
      `syntax = "proto2"; package e; service S { rpc Send(Base) returns (Base); }
      message Base { optional int64 id = 1; extensions 100 to 200; }
      extend Base { optional string note = 100; }`,
    );
    const { Send } = loadSync(extended, { longs: String })['e.S'] as Record<string, MethodDefinition<object, object>>;
    const received = sender('request', { method: Send! }).send({ id: 1n, '.e.note': 'x' });
    expect(received).toEqual({ id: '1', '.e.note': 'x' });
  });

  it('converts the values of a class instance with private fields', () => {
    class Entity {
      readonly #at = new Date(0);
      text = 'x';
      get timestamp() {
        return this.#at;
      }
    }
    expect(sender().send(new Entity())).toEqual({ text: 'x', timestamp: { seconds: '0', nanos: 0 } });
  });

  it.each([
    [{ int32: 2n ** 31n }, "field 'int32' of Values: expected an integer from -2^31 to 2^31-1, got 2147483648n"],
    [{ uint64: -1n }, "field 'uint64' of Values: expected an integer from 0 to 2^64-1, got -1n"],
    [
      { item: { count: 2n ** 63n } },
      "field 'item.count' of Item: expected an integer from -2^63 to 2^63-1, got 9223372036854775808n",
    ],
  ])('rejects the bigint in %o, which is out of range', (message, error) => {
    const { send, found } = sender();
    expect(() => send(message)).toThrow(error);
    expect(found).toEqual([]);
  });

  it.each([
    ['byBool', 'no', 'expected a boolean, got a string of length 2'],
    ['byInt', 'x', 'expected a number, got a string of length 1'],
    ['byLong', '-1', 'expected an integer from 0 to 2^64-1, got a string of length 2'],
  ])('reports the key of the map %s that is not of its type: %s', (field, key, problem) => {
    const { send, found } = sender();
    send({ [field]: { 1: 1 } });
    expect(found).toEqual([]);
    send({ [field]: { [key]: 1 } });
    expect(found).toMatchObject([{ field, problem }]);
  });
});

describe('a type that the application converts with protobufjs, as code from ts-proto does', () => {
  /** Sets conversions in protobufjs, and returns a method whose types are used only after that. */
  function convertedMethod(): MethodDefinition<object, object> {
    const conversions = {
      // Of `useDate=true`.
      Timestamp: {
        fromObject: (value: { getTime(): number }) => ({ seconds: value.getTime() / 1_000, nanos: 0 }),
        toObject: ({ seconds }: { seconds: unknown }) => ({ seconds: String(seconds) }),
      },
      Struct: {
        fromObject: (value: Readonly<Record<string, string>>) => ({
          fields: Object.fromEntries(Object.entries(value).map(([key, stringValue]) => [key, { stringValue }])),
        }),
        toObject: ({ fields }: { fields: object }) => JSON.parse(JSON.stringify(fields)) as object,
      },
    };
    for (const [name, conversion] of Object.entries(conversions)) {
      // Safe cast: protobufjs accepts any object that it can encode.
      wrappers[`.google.protobuf.${name}`] = conversion as unknown as IWrapper;
      onTestFinished(() => void Reflect.deleteProperty(wrappers, `.google.protobuf.${name}`));
    }
    return (loadSync(file, { longs: String })['v.S'] as ServiceDefinition)['Send'] as MethodDefinition<object, object>;
  }

  it.each(['production', 'development'])('receives the values as they were given, in %s', (environment) => {
    inEnvironment(environment);
    const method = convertedMethod();
    const { send, found } = sender('request', { method, rejects: true });
    const message = { timestamp: new Date(7_000), timestampList: [new Date(8_000)], struct: { key: 'x' }, text: 'y' };
    expect(send(message)).toEqual(method.requestDeserialize(method.requestSerialize(message)));
    expect(send(message)).toMatchObject({ timestamp: { seconds: '7' }, struct: { key: { stringValue: 'x' } } });
    expect(found).toEqual([]);
  });
});
