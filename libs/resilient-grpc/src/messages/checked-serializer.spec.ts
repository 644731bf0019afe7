import { Long, loadSync, type MethodDefinition, type ServiceDefinition } from '@grpc/proto-loader';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { of } from 'rxjs';
import { afterAll, describe, expect, it, vi } from 'vitest';
import type { UnsentField } from '../call/unsent-field.js';
import { withFieldCheck } from './field-check.js';
import { messageTypeOf } from './message-type.js';

const PROTO = `
  syntax = "proto3";
  package shop.v1;
  import "google/protobuf/any.proto";
  import "google/protobuf/duration.proto";
  import "google/protobuf/empty.proto";
  import "google/protobuf/struct.proto";
  import "google/protobuf/timestamp.proto";
  import "google/protobuf/wrappers.proto";
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
    repeated Item items = 11;
    map<string, Item> item_by_name = 12;
    map<string, uint32> stock = 13;
    enum Status { UNKNOWN = 0; IN_TRANSIT = 1; DELIVERED = 2; }
    Status status = 14;
    repeated Status history = 15;
    map<string, Status> status_by_city = 16;
    oneof content { Item only_item = 17; Size only_size = 18; }
    google.protobuf.Timestamp sent_at = 19;
    repeated google.protobuf.Timestamp scans = 20;
    google.protobuf.Duration delay = 21;
    google.protobuf.StringValue note = 22;
    google.protobuf.Struct extra = 23;
    google.protobuf.Any detail = 24;
    google.protobuf.Empty nothing = 25;
    bytes photo = 26;
    repeated bool flags = 27;
    map<string, google.protobuf.Timestamp> scan_by_city = 28;
    message Stop {
      enum Status { NEXT = 0; }
      repeated Parcel.Status states = 1;
    }
    Stop stop = 29;
  }
  message Item {
    string name = 1;
    double unit_price = 2;
    enum Status { NEW = 0; USED = 1; }
    Status status = 3;
    message Part { uint32 part_count = 1; Status status = 2; }
    repeated Part parts = 4;
  }
  message Size { uint32 width_mm = 1; }
`;

const folder = mkdtempSync(join(tmpdir(), 'parcels-'));
writeFileSync(join(folder, 'parcels.proto'), PROTO);
afterAll(() => {
  rmSync(folder, { recursive: true });
});

/** Description of a Parcel in the problem reported for a value of another type. */
const PARCEL =
  "an object with 'parcelId', 'count', 'weight', 'labels', 'address_1', 'shelf', 'createdAt', 'parentParcel', 'state',…";

function methodOf(name: 'Send' | 'Wrap', loader = {}): MethodDefinition<object, object> {
  const definition = loadSync(join(folder, 'parcels.proto'), loader)['shop.v1.Parcels'] as ServiceDefinition;
  return definition[name]!;
}

function make({
  method = methodOf('Send'),
  serialize = method.requestSerialize as (message: any) => Buffer,
  typeOf = () => messageTypeOf(method, 'request'),
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

class ItemEntity {
  unit_price = 1;
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
    ['an extra letter in snake case', { parccel_id: '7' }, 'parccel_id → parcelId'],
    ['a snake-case name of a message field', { parent_parcel: { parcelId: '6' } }, 'parent_parcel → parentParcel'],
    ['a misspelled name of a repeated field', { lables: ['x'] }, 'lables → labels'],
    ['a string in an integer field', { count: 'many' }, 'count: expected a number, got a string of length 4, sends 0'],
    ['a string in a float field', { weight: '5 kg' }, 'weight: expected a number, got a string of length 4, sends NaN'],
    ['an object in a number field', { count: { value: 5 } }, 'count: expected a number, got an object, sends 0'],
    [
      'an object in a string field',
      { parcelId: { value: '7' } },
      'parcelId: expected a string, got an object, sends "[object Object]"',
    ],
    ['a field of a nested message', { parentParcel: { parcel_id: '6' } }, 'parentParcel.parcel_id → parcelId'],
    [
      'a field of an element of a list, without its index',
      { items: [{ unitPrice: 1 }, { unit_price: 2 }, { unit_price: 3 }] },
      'items.unit_price → unitPrice',
    ],
    [
      'a field of a value of a map, without its key',
      { itemByName: { tea: { unitPrice: 'cheap' }, milk: { unitPrice: 'cheap' } } },
      'itemByName.unitPrice: expected a number, got a string of length 5, sends NaN',
    ],
    ['a field of a member of a oneof', { onlySize: { width_mm: 4 } }, 'onlySize.width_mm → widthMm'],
    [
      'a field at depth 3',
      { parentParcel: { items: [{ parts: [{ part_count: 3 }] }] } },
      'parentParcel.items.parts.part_count → partCount',
    ],
    [
      'an object in a list of strings',
      { labels: [{ value: 'x' }] },
      'labels: expected a string, got an object, sends "[object Object]"',
    ],
    [
      'a string in a number map',
      { stock: { tea: 'many' } },
      'stock: expected a number, got a string of length 4, sends 0',
    ],
    [
      'a Map in a map field',
      { stock: new Map([['tea', 1]]) },
      'stock: expected an object, got a Map, sends an empty object',
    ],
    [
      'a misspelled enum value',
      { status: 'DELIVRED' },
      "status: expected a value of Status, got a string of length 8; write 'DELIVERED', sends nothing",
    ],
    [
      'an enum value in another case',
      { history: ['in_transit'] },
      "history: expected a value of Status, got a string of length 10; write 'IN_TRANSIT', sends 0",
    ],
    [
      'an unknown enum value',
      { statusByCity: { Rome: 'x' } },
      "statusByCity: expected a value of Status, got a string of length 1; its values are 'UNKNOWN', 'IN_TRANSIT', 'DELIVERED', sends nothing",
    ],
    [
      'the number of an enum value as a string',
      { status: '2' },
      "status: expected a value of Status, got a string of length 1; its values are 'UNKNOWN', 'IN_TRANSIT', 'DELIVERED', sends nothing",
    ],
    [
      'a value of another enum with the same name',
      { items: [{ status: 'DELIVERED' }] },
      "items.status: expected a value of Status, got a string of length 9; its values are 'NEW', 'USED', sends nothing",
    ],
    [
      'a Date in a Timestamp field',
      { sentAt: new Date() },
      "sentAt: expected an object with 'seconds', 'nanos', got a Date, sends an empty object",
    ],
    [
      'a Date in a list of Timestamps',
      { scans: [new Date()] },
      "scans: expected an object with 'seconds', 'nanos', got a Date, sends an empty object",
    ],
    [
      'a Date in a map of Timestamps',
      { scanByCity: { Rome: new Date() } },
      "scanByCity: expected an object with 'seconds', 'nanos', got a Date, sends an empty object",
    ],
    [
      'an instance of a class in a Timestamp field',
      { sentAt: new DatabaseId() },
      "sentAt: expected an object with 'seconds', 'nanos', got an object, sends an empty object",
    ],
    [
      'an object without the fields of a Struct',
      { extra: { color: 'red' } },
      "extra: expected an object with 'fields', got an object, sends an empty object",
    ],
    [
      'an object without the fields of a wrapper',
      { note: { text: 'x' } },
      "note: expected an object with 'value', got an object, sends an empty object",
    ],
    [
      'a list in a field of one message',
      { onlyItem: [{ name: 'tea' }] },
      "onlyItem: expected an object with 'name', 'unitPrice', 'status', 'parts', got an array of length 1, sends an empty object",
    ],
    [
      'an Any of an unknown type',
      { detail: { '@type': 'shop.v1/Unknown', text: 'x' } },
      "detail: expected an object with 'type_url', 'value', got an object, sends an empty object",
    ],
    [
      'the string false in a boolean field',
      { isGift: 'false' },
      'isGift: expected a boolean, got a string of length 5, sends true',
    ],
    [
      'a Buffer in a list of booleans',
      { flags: [Buffer.of(0)] },
      'flags: expected a boolean, got a Buffer of length 1, sends true',
    ],
    [
      'a Buffer that was sent as JSON',
      { photo: Buffer.of(1).toJSON() },
      'photo: expected a Buffer, got an object, sends nothing',
    ],
    ['an ArrayBuffer', { photo: new ArrayBuffer(2) }, 'photo: expected a Buffer, got an object, sends nothing'],
    ['a number in a bytes field', { photo: 5 }, 'photo: expected a Buffer, got 5, sends nothing'],
    [
      'a string without a number in a 64-bit field',
      { createdAt: 'now' },
      'createdAt: expected an integer, got a string of length 3, sends 0',
    ],
    ['a Date in a 64-bit field', { createdAt: new Date() }, 'createdAt: expected an integer, got a Date, sends 0'],
    ['a boolean in a 64-bit field', { createdAt: true }, 'createdAt: expected an integer, got true, sends 0'],
    ['NaN in a 64-bit field', { createdAt: NaN }, 'createdAt: expected an integer, got NaN, sends 0'],
    [
      'a string that starts with a number in a 64-bit field',
      { createdAt: '12 kg' },
      'createdAt: expected an integer, got a string of length 5, sends 12',
    ],
    [
      'a Promise as the message',
      Promise.resolve({ parcelId: '7' }),
      `: expected ${PARCEL}, got a Promise; await it first, sends an empty object`,
    ],
    [
      'an Observable as the message',
      of({ parcelId: '7' }),
      `: expected ${PARCEL}, got an Observable; pass a message that it emits, sends an empty object`,
    ],
    [
      'a query with a then method as the message',
      { then: () => undefined, where: {} },
      `: expected ${PARCEL}, got an object; await it first, sends an empty object`,
    ],
    [
      'an Observable that has a property with the name of a field',
      Object.assign(of({ parcelId: '7' }), { state: 'sent' }),
      `: expected ${PARCEL}, got an Observable; pass a message that it emits, sends its properties`,
    ],
    ['a Date as the message', new Date(), `: expected ${PARCEL}, got a Date, sends an empty object`],
    [
      'a Promise in a message field',
      { onlySize: Promise.resolve({ widthMm: 4 }) },
      "onlySize: expected an object with 'widthMm', got a Promise; await it first, sends an empty object",
    ],
    [
      'a field of an object without a prototype',
      { parentParcel: Object.assign(Object.create(null), { parcel_id: '6' }) as object },
      'parentParcel.parcel_id → parcelId',
    ],
  ])('reports %s once, and returns the bytes of the serializer', (_, message, problem) => {
    const { checked, problems, serialize } = make();
    expect(checked(message)).toEqual(serialize(message));
    expect(checked(message)).toEqual(serialize(message));
    expect(problems()).toEqual([problem]);
  });

  it('reports a Promise even after the serializer has rejected an array', () => {
    const { checked, problems } = make();
    expect(() => checked([] as never)).toThrow('got array instead');
    checked(Promise.resolve({}));
    expect(problems()).toHaveLength(1);
  });

  it('does not call a getter of a message', () => {
    const { checked, problems } = make();
    const getter = vi.fn(() => () => undefined);
    checked(Object.defineProperty({ parcelId: '7' }, 'then', { get: getter }));
    expect(getter).not.toHaveBeenCalled();
    expect(problems()).toEqual([]);
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
    ['the name of a field with another number at its end', { address2: 'x' }],
    ['the singular of a repeated field', { label: 'x' }],
    ['absent values of unknown keys', { parcel_id: undefined, created_at: null, parent_parcel: () => 1 }],
    ['absent values and functions in fields', { parcelId: null, count: () => 1, weight: undefined, state: undefined }],
    ['a class instance', new Entity()],
    ['an Any', { '@type': 'shop.v1/Parcel', parcel_id: '7' }],
    ['keys that other code generators add', { $typeName: 'x', _unknownFields: [] }],
    [
      'correct nested values',
      {
        items: [{ name: 'tea', unitPrice: '2', status: 'USED', parts: [{ partCount: 1, status: 1 }] }],
        itemByName: { tea: { unitPrice: 1 }, unit_price: { name: 'the key of a map is not a field' } },
        stock: { tea: 4, parcel_id: 5 },
        status: 'UNKNOWN',
        history: ['DELIVERED', 1, 99],
        statusByCity: { Rome: 'IN_TRANSIT' },
        content: 'onlySize',
        onlySize: { widthMm: 3 },
      },
    ],
    [
      'correct well-known types',
      {
        sentAt: { seconds: 5, nanos: 0 },
        scans: [{ seconds: 0 }, {}],
        delay: { seconds: '3' },
        note: { value: '' },
        extra: { fields: { color: { stringValue: 'red' } } },
        detail: { '@type': 'shop.v1/Size', widthMm: 4 },
        nothing: new Date(),
      },
    ],
    ['an empty Any and Struct', { detail: {}, extra: Object.create(null) as object }],
    ['messages of protobuf-es', { sentAt: { $typeName: 'google.protobuf.Timestamp', seconds: 5n, nanos: 1 } }],
    ['a bigint in createdAt', { createdAt: 5n }],
    ['a Long', { createdAt: Long.fromNumber(5) }],
    ['a Long of 0', { createdAt: Long.ZERO }],
    ['the parts of a Long', { createdAt: { low: 5, high: 0, unsigned: false } }],
    ['"1.5" in a 64-bit field', { createdAt: '1.5' }],
    ['a string with spaces in a 64-bit field', { createdAt: ' 7 ' }],
    ['a string with a plus sign in a 64-bit field', { createdAt: '+7' }],
    ['a large number in a 64-bit field', { createdAt: 1e21 }],
    ['a Buffer in photo', { photo: Buffer.of(1) }],
    ['an array in a bytes field', { photo: [1, 2] }],
    ['a base64 string in a bytes field', { photo: 'aGk=' }],
    ['values of a bool field that convert as intended', { isGift: 1, flags: ['true', Buffer.of(1), 0] }],
    ['absent nested values', { sentAt: null, extra: undefined, status: null, photo: null, isGift: null, items: null }],
    ['absent elements of a list', { history: [null, undefined], flags: [null], labels: [null] }],
    [
      'a class instance in a message field, a list, and a map',
      { onlyItem: new ItemEntity(), items: [new ItemEntity()], itemByName: { tea: new ItemEntity() } },
    ],
    ['values of an enum whose name fits two types', { stop: { states: ['UNKNOWN'] } }],
    ['an empty class instance', { onlyItem: new DatabaseId() }],
    ['an object with toJSON()', { onlyItem: { name: 'tea', toJSON: () => ({}) } }],
    ['columns of a database in a list', { items: [{ name: 'tea', tenant_id: 4, parcel_id: '7' }] }],
    [
      'getters',
      {
        get onlyItem() {
          return { unit_price: 1 };
        },
        get status() {
          return 'x';
        },
      },
    ],
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

  it('reports nothing for a serializer that sends unknown keys and values of the wrong type', () => {
    const serialize = (message: object) => Buffer.from(JSON.stringify(message));
    const { checked, problems } = make({ serialize });
    expect(String(checked({ parcel_id: '7', count: 'many' }))).toBe('{"parcel_id":"7","count":"many"}');
    expect(problems()).toEqual([]);
  });

  it.each([undefined, null, {}, { type: { name: 'Parcel' } }, { fileDescriptorProtos: [] }, class GeneratedMessage {}])(
    'serializes without a field check if the definition of the message type is %s, which has no descriptor',
    (requestType) => {
      const { checked, problems, serialize } = make({
        typeOf: () => messageTypeOf({ path: '/shop.v1.Parcels/Send', requestType }, 'request'),
      });
      expect(checked({ parcel_id: '7' })).toEqual(serialize({ parcel_id: '7' }));
      expect(problems()).toEqual([]);
    },
  );

  it('reads the descriptor at the first message, and only once', () => {
    let reads = 0;
    const type = messageTypeOf(methodOf('Send'), 'request');
    const { checked } = make({ typeOf: () => (reads++, type) });
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

  it('names the nested message type of a reported field', () => {
    const { checked, reported } = make();
    checked({ items: [{ unit_price: 1 }] });
    expect(reported).toMatchObject([{ messageType: 'Item', field: 'items.unit_price', suggestion: 'unitPrice' }]);
  });

  it('reports the fields of a nested message after it has reported the nested message itself', () => {
    const { checked, reported } = make();
    checked({ onlyItem: [] });
    checked({ onlyItem: { unit_price: 1 } });
    checked({ onlyItem: { unitPrice: 'many' } });
    checked({ onlyItem: [] });
    expect(reported.map(({ field }) => field)).toEqual(['onlyItem', 'onlyItem.unit_price', 'onlyItem.unitPrice']);
  });

  it('reports the fields of a response type', () => {
    const method = methodOf('Wrap');
    const { checked, problems } = make({
      method,
      serialize: method.responseSerialize as (message: any) => Buffer,
      typeOf: () => messageTypeOf(method, 'response'),
    });
    checked({ items: [{ unit_price: 1 }] });
    expect(problems()).toEqual(['items.unit_price → unitPrice']);
  });

  it('does not report nested values that a serializer supports', () => {
    const { checked, problems } = make({ serialize: (message) => Buffer.from(JSON.stringify(message)) });
    checked({
      items: [{ unit_price: 1, status: 'x' }],
      stock: { tea: 'many' },
      sentAt: new Date(),
      extra: { color: 'red' },
      status: 'x',
      isGift: 'false',
      createdAt: 'now',
      photo: Buffer.of(1).toJSON(),
    });
    expect(problems()).toEqual([]);
  });

  it('does not report a Buffer that the application serialized', () => {
    const { checked, problems } = make({ serialize: (message) => message as Buffer });
    expect(checked(Buffer.from('bytes'))).toEqual(Buffer.from('bytes'));
    expect(problems()).toEqual([]);
  });

  it('examines the first 3 elements of a list and of a map', () => {
    const { checked, problems } = make();
    checked({ items: [{}, {}, {}, { unit_price: 1 }], itemByName: { a: {}, b: {}, c: {}, d: { unit_price: 1 } } });
    expect(problems()).toEqual([]);
    checked({ items: [{}, {}, { unit_price: 1 }], itemByName: { a: {}, b: {}, c: { unit_price: 1 } } });
    expect(problems()).toEqual(['items.unit_price → unitPrice', 'itemByName.unit_price → unitPrice']);
  });

  it('examines 5 levels of nested messages', () => {
    const { checked, problems } = make();
    const nest = (message: object, levels: number): object =>
      levels === 0 ? message : { parentParcel: nest(message, levels - 1) };
    checked(nest({ parcel_id: '7' }, 6));
    expect(problems()).toEqual([]);
    checked(nest({ parcel_id: '7' }, 5));
    expect(problems()).toEqual([`${'parentParcel.'.repeat(5)}parcel_id → parcelId`]);
  });

  it('examines at most 50 messages, including nested ones, per message of a call', () => {
    const { checked, problems } = make();
    const byName = { a: {}, b: {}, c: {} };
    const time = { nanos: 1 };
    const filled = { items: [{}, {}, {}], itemByName: byName, scans: [time, time, time], stop: {}, onlyItem: {} };
    const nest = (message: object, levels: number): object =>
      levels === 0 ? message : { ...filled, parentParcel: nest(message, levels - 1) };
    checked(nest({ parcel_id: '7' }, 5));
    expect(problems()).toEqual([]);
    checked(nest({ parcel_id: '7' }, 4));
    expect(problems()).toEqual([`${'parentParcel.'.repeat(4)}parcel_id → parcelId`]);
  });

  it('lets the serializer throw its own error if a message contains itself', () => {
    const { checked, problems } = make();
    const message: Record<string, unknown> = {};
    message['parentParcel'] = message;
    expect(() => checked(message)).toThrow('maximum nesting depth exceeded');
    expect(problems()).toEqual([]);
  });

  it('throws the error of the serializer if the serializer rejects the message', () => {
    const { checked, problems } = make();
    for (const value of ['2026-01-01', 5, true])
      expect(() => checked({ sentAt: value })).toThrow('sentAt: object expected');
    expect(() => checked({ items: { name: 'tea' } })).toThrow('array expected');
    expect(problems()).toEqual([]);
    expect(() => checked([])).toThrow('expected object');
    expect(() => checked({ labels: 'x', parcel_id: '7' })).toThrow('array expected');
  });

  it('runs the getter of a field no more often than the serializer alone does, so that the sent bytes are the same', () => {
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
    expect(problems()).toEqual(['parcel_id → parcelId', 'count: expected a number, got a string of length 4, sends 0']);
  });

  it('reports a field in the first message after events are enabled, even if earlier messages contained the field', () => {
    const { checked, events, problems } = make();
    events.wanted = false;
    checked({ parcel_id: '7' });
    expect(problems()).toEqual([]);
    events.wanted = true;
    checked({ parcel_id: '7' });
    expect(problems()).toEqual(['parcel_id → parcelId']);
  });
});
