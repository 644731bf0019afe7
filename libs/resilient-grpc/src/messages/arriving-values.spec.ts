import { loadSync, type MethodDefinition, type ServiceDefinition } from '@grpc/proto-loader';
import fc from 'fast-check';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, it, vi } from 'vitest';
import type { UnsentField } from '../call/call-event.js';
import { checkedSerializer } from './checked-serializer.js';
import { filesOf } from './file-descriptors.js';

const TYPES = {
  text: 'string',
  int32: 'int32',
  uint32: 'uint32',
  sint32: 'sint32',
  fixed32: 'fixed32',
  sfixed32: 'sfixed32',
  int64: 'int64',
  uint64: 'uint64',
  sint64: 'sint64',
  fixed64: 'fixed64',
  sfixed64: 'sfixed64',
  float: 'float',
  double: 'double',
  bool: 'bool',
  bytes: 'bytes',
  color: 'Color',
  item: 'Item',
  timestamp: 'google.protobuf.Timestamp',
  duration: 'google.protobuf.Duration',
  mask: 'google.protobuf.FieldMask',
  struct: 'google.protobuf.Struct',
  value: 'google.protobuf.Value',
  list: 'google.protobuf.ListValue',
  stringValue: 'google.protobuf.StringValue',
  boolValue: 'google.protobuf.BoolValue',
  bytesValue: 'google.protobuf.BytesValue',
  int32Value: 'google.protobuf.Int32Value',
  uint32Value: 'google.protobuf.UInt32Value',
  int64Value: 'google.protobuf.Int64Value',
  uint64Value: 'google.protobuf.UInt64Value',
  floatValue: 'google.protobuf.FloatValue',
  doubleValue: 'google.protobuf.DoubleValue',
} as const;
type Name = keyof typeof TYPES;
const NAMES = Object.keys(TYPES) as Name[];

const folder = mkdtempSync(join(tmpdir(), 'values-'));
afterAll(() => {
  rmSync(folder, { recursive: true });
});
const file = join(folder, 'values.proto');
const imports = ['timestamp', 'duration', 'field_mask', 'struct', 'wrappers'];
writeFileSync(
  file,
  `syntax = "proto3"; package v;
  ${imports.map((name) => `import "google/protobuf/${name}.proto";`).join('\n')}
  service S { rpc Send(Values) returns (Values); }
  enum Color { RED = 0; BLUE = 1; }
  message Item { string name = 1; int64 count = 2; google.protobuf.Timestamp at = 3; repeated Item parts = 4; }
  message Values {
    ${NAMES.map((name, index) => `${name === 'item' ? '' : 'optional '}${TYPES[name]} ${name} = ${String(index + 1)};`).join('\n')}
    ${NAMES.map((name, index) => `repeated ${TYPES[name]} ${name}List = ${String(index + 101)};`).join('\n')}
    ${NAMES.map((name, index) => `map<string, ${TYPES[name]}> ${name}Map = ${String(index + 201)};`).join('\n')}
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

afterEach(() => {
  vi.unstubAllEnvs();
});

/** Values of any kind that applications pass. */
const anyValue = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.integer().map(String),
  fc.constantFrom('', ' 7 ', '1.5', '1e3', 'NaN', 'RED', 'BLUE', 'PINK', 'false', '3s', '1970-01-01T00:00:00Z', 'aGk='),
  fc.integer(),
  fc.double(),
  fc.maxSafeInteger(),
  fc.bigInt({ min: -(2n ** 70n), max: 2n ** 70n }),
  fc.boolean(),
  fc.constantFrom(null, undefined),
  fc.date({ noInvalidDate: false }),
  fc.uint8Array(),
  fc.constantFrom(Symbol('x'), () => 1, new Map(), new Set(), Promise.resolve(), [], {}, [1], { value: 1 }, { low: 1 }),
  fc.object({ maxDepth: 2 }),
  fc.jsonValue({ maxDepth: 2 }),
  fc.record({ value: fc.oneof(fc.string(), fc.integer(), fc.bigInt()) }),
  fc.record({ seconds: fc.oneof(fc.integer(), fc.string()), nanos: fc.integer() }, { requiredKeys: [] }),
  fc.record(
    { name: fc.oneof(fc.string(), fc.object()), count: fc.oneof(fc.double(), fc.bigInt()) },
    { requiredKeys: [] },
  ),
);

const sameNumber = (a: number, b: number) => a === b || (Number.isNaN(a) && Number.isNaN(b));
const sameBytes = (a: any, b: Uint8Array) => Buffer.compare(Buffer.from(a), Buffer.from(b)) === 0;

/** True if `arrived` is what `given` means in a field of the type `name`. An independent statement of what the library promises. */
function isMeant(name: Name, given: any, arrived: any): boolean {
  const type: string = TYPES[name];
  if (given === null || given === undefined) return arrived === undefined;
  if (type === 'string') return arrived === String(given) && !Array.isArray(given) && !arrived.startsWith('[object ');
  if (/32$/.test(type)) return String(given).trim() !== '' && Number(given) === arrived;
  if (/64$/.test(type)) {
    if (typeof given === 'object') return arrived === String(given.low ?? '') || 'high' in given;
    return typeof given === 'boolean'
      ? false
      : arrived === BigInt(typeof given === 'string' ? given.trim().replace(/^\+/, '') : given).toString();
  }
  if (type === 'float' || type === 'double') {
    const number = Number(given);
    const sent = arrived === undefined ? 0 : Number(arrived);
    if (typeof given === 'string' && given.trim() === '') return false;
    return (
      (typeof given === 'number' || given === 'NaN' || !Number.isNaN(number)) &&
      sameNumber(type === 'float' ? Math.fround(number) : number, sent) &&
      Number.isFinite(number) === Number.isFinite(sent)
    );
  }
  if (type === 'bool')
    return (
      arrived === Boolean(given) &&
      !(typeof given === 'string' && /^(false|no|off|0)$/i.test(given)) &&
      (ArrayBuffer.isView(given) || typeof given !== 'object')
    );
  if (type === 'bytes')
    return sameBytes(Buffer.from(arrived, 'base64'), typeof given === 'string' ? Buffer.from(given, 'base64') : given);
  if (type === 'Color')
    return typeof given === 'string'
      ? arrived === given
      : arrived === (['RED', 'BLUE'][Number(given)] ?? Number(given));
  return isMeantMessage(name, type, given, arrived);
}

function isMeantMessage(name: Name, type: string, given: any, arrived: any): boolean {
  switch (type) {
    case 'Item':
      return (
        (given.name === undefined || isMeant('text', given.name, arrived.name ?? '')) &&
        (given.count === undefined || isMeant('int64', given.count, arrived.count ?? '0')) &&
        Object.getPrototypeOf(given) !== Map.prototype &&
        !Array.isArray(given) &&
        !(given instanceof Promise)
      );
    case 'google.protobuf.Timestamp':
    case 'google.protobuf.Duration': {
      const { seconds = '0', nanos = 0 } = arrived;
      if (given instanceof Date) return Number(seconds) * 1000 + nanos / 1e6 === given.getTime();
      if (given === '3s') return seconds === '3';
      if (typeof given === 'string') return Date.parse(given) === Number(seconds) * 1000;
      if (Object.keys(given).length > 0 && !('seconds' in given) && !('nanos' in given)) return false;
      return (
        (given.seconds === undefined || isMeant('int64', given.seconds, seconds)) &&
        (given.nanos === undefined || isMeant('int32', given.nanos, nanos))
      );
    }
    case 'google.protobuf.FieldMask':
      return Array.isArray(given) || typeof given === 'string'
        ? (arrived.paths ?? []).length === (given === '' ? 0 : [given].flat().join(',').split(',').length) ||
            given.length === 0
        : Object.keys(given).length === 0;
    case 'google.protobuf.Struct':
      return JSON.stringify(structFrom(arrived)) === JSON.stringify(given, jsonOnly);
    case 'google.protobuf.Value':
      return JSON.stringify(valueFrom(arrived)) === JSON.stringify(given, jsonOnly);
    case 'google.protobuf.ListValue':
      return Array.isArray(given)
        ? JSON.stringify((arrived.values ?? []).map(valueFrom)) === JSON.stringify(given, jsonOnly)
        : Object.keys(given).length === 0;
    default: {
      const inner = name.replace(/Value$/, '').replace('string', 'text') as Name;
      if (typeof given === 'object' && !ArrayBuffer.isView(given) && Object.keys(given).length === 0)
        return (
          !(given instanceof Map) &&
          !(given instanceof Date) &&
          !(given instanceof Set) &&
          !(given instanceof Promise) &&
          !Array.isArray(given)
        );
      const value = typeof given === 'object' && 'value' in given ? given.value : given;
      const empty =
        { string: '', bool: false, bytes: '', int64: '0', uint64: '0' }[inner as 'bool'] ?? (inner === 'text' ? '' : 0);
      return isMeant(inner, value, arrived.value ?? empty);
    }
  }
}

/** Replacer for JSON.stringify() that keeps bigints and numbers that JSON does not have. */
function jsonOnly(_: string, value: unknown): unknown {
  if (typeof value === 'number') return String(value);
  return typeof value === 'bigint' ? String(value) : value;
}

function structFrom(struct: any): any {
  return Object.fromEntries(Object.entries(struct.fields ?? {}).map(([key, one]) => [key, valueFrom(one)]));
}

function valueFrom(value: any): any {
  if ('structValue' in value) return structFrom(value.structValue);
  if ('listValue' in value) return (value.listValue.values ?? []).map(valueFrom);
  if ('numberValue' in value) return String(value.numberValue);
  if ('nullValue' in value) return null;
  return value.stringValue ?? value.boolValue;
}

describe('any value', () => {
  it.each(NAMES)(
    'of 1,000 in a field %s of requests and responses arrives as given or converted, or is reported, or the call fails before it is sent',
    (name) => {
      fc.assert(
        fc.property(anyValue, fc.constantFrom('', 'List', 'Map'), fc.boolean(), (given, holds, isProduction) => {
          vi.stubEnv('NODE_ENV', isProduction ? 'production' : 'development');
          const field = `${name}${holds}`;
          const message = { text: 'x', [field]: holds === 'List' ? [given] : holds === 'Map' ? { key: given } : given };
          for (const direction of ['request', 'response'] as const) {
            const { send, found } = sender(direction);
            const rejecting = sender(direction, { rejects: true });
            let arrived: Record<string, any>;
            try {
              arrived = send(message);
            } catch {
              expect(() => rejecting.send(message)).toThrow();
              continue;
            }
            if (found.length > 0) {
              expect(found[0]!.field).toContain(field);
              expect(() => rejecting.send(message)).toThrow(`field '${found[0]!.field}' of `);
              continue;
            }
            rejecting.send(message);
            // An absent field.
            if (holds === '' && (given === null || given === undefined)) continue;
            const value = holds === 'List' ? arrived[field][0] : holds === 'Map' ? arrived[field].key : arrived[field];
            // null in a list or map of values.
            if (given === null && TYPES[name] === 'google.protobuf.Value') continue;
            if (!isMeant(name, given, value)) expect(value).toEqual({ meant: given });
          }
        }),
        { numRuns: 1000 },
      );
    },
  );
});
