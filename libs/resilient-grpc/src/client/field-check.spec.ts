import { loadSync, type MethodDefinition, type ServiceDefinition } from '@grpc/proto-loader';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import type { UnsentField } from '../call/unsent-field.js';
import { withFieldCheck } from './field-check.js';

const PROTO = `
  syntax = "proto3";
  package shop.v1;
  import "google/protobuf/any.proto";
  service Parcels {
    rpc Send(Parcel) returns (Parcel);
    rpc Wrap(google.protobuf.Any) returns (Parcel);
  }
  message Parcel {
    string parcel_id = 1;
    uint32 count = 2;
    double weight = 3;
    repeated string labels = 4;
    oneof target { string address_1 = 5; string shelf = 6; }
    int64 created_at = 7;
    Parcel parent_parcel = 8;
    string state = 9;
    optional bool is_gift = 10;
  }
`;

const folder = mkdtempSync(join(tmpdir(), 'parcels-'));
writeFileSync(join(folder, 'parcels.proto'), PROTO);
afterAll(() => {
  rmSync(folder, { recursive: true });
});

function methodOf(name: 'Send' | 'Wrap', loader = {}): MethodDefinition<object, object> {
  const definition = loadSync(join(folder, 'parcels.proto'), loader)['shop.v1.Parcels'] as ServiceDefinition;
  return definition[name]!;
}

function make({
  method = methodOf('Send'),
  serialize = method.requestSerialize as (message: any) => Buffer,
  typeOf = (): unknown => method.requestType,
} = {}) {
  const reported: UnsentField[] = [];
  const events = { wanted: true, emit: (event: UnsentField) => void reported.push(event) };
  const checked = withFieldCheck(serialize, method.path, typeOf, events);
  const problems = () =>
    reported.map((one) =>
      'suggestion' in one ? `${one.field} → ${one.suggestion}` : `${one.field}: ${one.problem}, sends ${one.sent}`,
    );
  return { checked, events, reported, problems, serialize };
}

class Entity {
  parcel_id = '7';
}

class DatabaseId {
  toString() {
    return '65f0';
  }
}

describe('withFieldCheck', () => {
  it.each<[what: string, message: object, problem: string]>([
    ['a name in snake case', { parcel_id: '7' }, 'parcel_id → parcelId'],
    ['a name in another case', { ParcelID: '7' }, 'ParcelID → parcelId'],
    ['an extra letter', { parcellId: '7' }, 'parcellId → parcelId'],
    ['swapped letters', { parecl_id: '7' }, 'parecl_id → parcelId'],
    ['an additional letter', { parccel_id: '7' }, 'parccel_id → parcelId'],
    ['a name of a nested message', { parent_parcel: { parcelId: '6' } }, 'parent_parcel → parentParcel'],
    ['a name of a repeated field', { lables: ['x'] }, 'lables → labels'],
    [
      'a text in an integer field',
      { count: 'many' },
      'count: expected a number, got a string of 4 characters, sends 0',
    ],
    [
      'a text in a float field',
      { weight: '5 kg' },
      'weight: expected a number, got a string of 4 characters, sends NaN',
    ],
    ['an object in a number field', { count: { value: 5 } }, 'count: expected a number, got an object, sends 0'],
    [
      'an object in a string field',
      { parcelId: { value: '7' } },
      'parcelId: expected a string, got an object, sends "[object Object]"',
    ],
  ])('reports %s once, and returns the bytes of the serializer', (_, message, problem) => {
    const { checked, problems, serialize } = make();
    expect(checked(message)).toEqual(serialize(message));
    expect(checked(message)).toEqual(serialize(message));
    expect(problems()).toEqual([problem]);
  });

  it.each<[what: string, message: unknown]>([
    [
      'a correct message',
      { parcelId: '7', count: 2, weight: 1.5, labels: ['x'], target: 'shelf', shelf: 'A', createdAt: 1 },
    ],
    ['values that convert without loss', { parcelId: 7, count: '2', weight: 'NaN', isGift: true }],
    ['objects with a meaningful string', { parcelId: new DatabaseId(), state: new Date(0), count: new Date(0) }],
    ['columns of a database', { parcelId: '7', tenant_id: 1, updated_at: 'x', deletedAt: 'x', stage: 'x', _count: 1 }],
    ['a column next to the field with a similar name', { parcel_id: '7', parcelId: '7', count: 1, parcelIds: ['7'] }],
    ['a column next to an empty field with a similar name', { parcel_id: '7', parcelId: undefined }],
    ['another number', { address2: 'x' }],
    ['the singular of a repeated field', { label: 'x' }],
    ['absent values of unknown keys', { parcel_id: undefined, created_at: null, parent_parcel: () => 1 }],
    ['absent values and functions in fields', { parcelId: null, count: () => 1, weight: undefined, state: undefined }],
    ['a class instance', new Entity()],
    ['an Any', { '@type': 'shop.v1/Parcel', parcel_id: '7' }],
    ['names of other generators', { $typeName: 'x', _unknownFields: [] }],
  ])('does not report %s, and returns the bytes of the serializer', (_, message) => {
    const { checked, problems, serialize } = make();
    expect(checked(message)).toEqual(serialize(message));
    expect(problems()).toEqual([]);
  });

  it('expects the names of the .proto file if the loader option keepCase is set', () => {
    const { checked, problems } = make({ method: methodOf('Send', { keepCase: true }) });
    checked({ parcel_id: '7', created_at: 1 });
    expect(problems()).toEqual([]);
    checked({ parcelId: '7' });
    expect(problems()).toEqual(['parcelId → parcel_id']);
  });

  it('names the method and the message type of a reported field', () => {
    const { checked, reported } = make();
    checked({ parcel_id: '7' });
    expect(reported).toEqual([
      {
        type: 'unsent-field',
        path: '/shop.v1.Parcels/Send',
        messageType: 'Parcel',
        field: 'parcel_id',
        suggestion: 'parcelId',
      },
    ]);
  });

  it('reports nothing for a serializer that sends the unknown key or the wrong value', () => {
    const serialize = (message: object) => Buffer.from(JSON.stringify(message));
    const { checked, problems } = make({ serialize });
    expect(String(checked({ parcel_id: '7', count: 'many' }))).toBe('{"parcel_id":"7","count":"many"}');
    expect(problems()).toEqual([]);
  });

  it.each([undefined, null, {}, { type: undefined }, { type: { name: 'Parcel' } }, class GeneratedMessage {}])(
    'only serializes if the definition of the message type is %s, which has no descriptor',
    (definition) => {
      const { checked, problems, serialize } = make({ typeOf: () => definition });
      expect(checked({ parcel_id: '7' })).toEqual(serialize({ parcel_id: '7' }));
      expect(problems()).toEqual([]);
    },
  );

  it('reads the descriptor at the first message, and only once', () => {
    let reads = 0;
    const { requestType } = methodOf('Send');
    const { checked } = make({ typeOf: () => (reads++, requestType) });
    expect(reads).toBe(0);
    checked({ parcelId: '7' });
    checked({ parcelId: '8' });
    expect(reads).toBe(1);
  });

  it.each<[what: string, overrides: Parameters<typeof make>[0], message: object]>([
    [
      'the descriptor',
      {
        typeOf: () => {
          throw new Error('unreadable');
        },
      },
      { parcelId: '7' },
    ],
    [
      'a value',
      {},
      {
        parcelId: '7',
        get parcell_id() {
          throw new Error('unreadable');
        },
        count: Object.create(null) as unknown,
      },
    ],
    ['the keys', {}, new Proxy({ parcelId: '7' }, { ownKeys: () => [1] as never })],
  ])('leaves the call unchanged if reading %s throws', (_, overrides, message) => {
    const serialize = () => Buffer.from('bytes');
    const { checked, problems } = make({ serialize, ...overrides });
    expect(String(checked(message))).toBe('bytes');
    expect(problems()).toEqual([]);
  });

  it('throws the error of the serializer', () => {
    const { checked } = make();
    expect(() => checked([])).toThrow('expected object');
    expect(() => checked({ labels: 'x', parcel_id: '7' })).toThrow('array expected');
  });

  it('runs the getter of a field only as often as the serializer, so that the message is the same', () => {
    const counting = () => {
      let reads = 0;
      return {
        get parcelId() {
          return String(++reads);
        },
      };
    };
    const { checked, serialize } = make();
    expect(checked(counting())).toEqual(serialize(counting()));
  });

  it('does not run the getter of an unknown key that is not misspelled', () => {
    let runs = 0;
    const { checked } = make();
    checked({
      parcel_id: '7',
      get owner() {
        return (runs += 1);
      },
    });
    expect(runs).toBe(0);
  });

  it('examines a limited number of unknown keys per method', () => {
    const { checked, problems } = make();
    for (let i = 0; i < 99; i++) checked({ [`column${'x'.repeat(i)}`]: i });
    checked({ parcel_id: '7' });
    expect(problems()).toHaveLength(1);
    checked({ parcellId: '7', parent_parcel: {}, count: 'many' });
    expect(problems()).toEqual([
      'parcel_id → parcelId',
      'count: expected a number, got a string of 4 characters, sends 0',
    ]);
  });

  it('reports a field later if the events are not wanted yet', () => {
    const { checked, events, problems } = make();
    events.wanted = false;
    checked({ parcel_id: '7' });
    expect(problems()).toEqual([]);
    events.wanted = true;
    checked({ parcel_id: '7' });
    expect(problems()).toEqual(['parcel_id → parcelId']);
  });
});
