import { Long, loadSync, type MethodDefinition, type ServiceDefinition } from '@grpc/proto-loader';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { of } from 'rxjs';
import { afterAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import type { UnsentField } from '../call/call-event.js';
import { checkedSerializer } from './checked-serializer.js';
import { filesOf } from './file-descriptors.js';

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
    Parcel other_parcel = 30;
    repeated Parcel bundle = 31;
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
  files = filesOf(method),
  rejects = false,
} = {}) {
  const reported: UnsentField[] = [];
  const events = { wanted: true, emit: (event: UnsentField) => void reported.push(event) };
  const checked = checkedSerializer({ path: method.path, files }, serialize, 'request', { events, rejects });
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

describe('checkedSerializer', () => {
  it.each<[what: string, message: object, problem: string]>([
    ['a name in snake case', { parcel_id: '7' }, 'parcel_id → parcelId'],
    ['an extra letter', { parcellId: '7' }, 'parcellId → parcelId'],
    ['a string in an integer field', { count: 'many' }, 'count: expected a number, got a string of length 4, sends 0'],
    ['a string in a float field', { weight: '5 kg' }, 'weight: expected a number, got a string of length 4, sends NaN'],
    [
      'an object in a string field',
      { parcelId: { value: '7' } },
      'parcelId: expected a string, got an object, sends "[object Object]"',
    ],
    [
      'half of a character in the key of a map',
      { stock: { '\ud800': 1 } },
      'stock: expected valid Unicode, got a string of length 1, sends "…"',
    ],
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
    [
      'a second field of a oneof',
      { address_1: 'Rome', shelf: 'A7' },
      "address_1: expected no value beside 'shelf' of the same oneof, got a string of length 4, sends nothing",
    ],
    [
      'a Map in a map field',
      { stock: new Map([['tea', 1]]) },
      'stock: expected an object, got a Map, sends an empty object',
    ],
    [
      'a misspelled enum value',
      { status: 'DELIVRED' },
      "status: expected a value of Status, got a string of length 8; its values are 'UNKNOWN', 'IN_TRANSIT', 'DELIVERED', sends nothing",
    ],
    [
      'an enum value in another case',
      { history: ['in_transit'] },
      "history: expected a value of Status, got a string of length 10; its values are 'UNKNOWN', 'IN_TRANSIT', 'DELIVERED', sends 0",
    ],
    [
      'a value of another enum with the same name',
      { items: [{ status: 'DELIVERED' }] },
      "items.status: expected a value of Status, got a string of length 9; its values are 'NEW', 'USED', sends nothing",
    ],
    [
      'an instance of a class in a Timestamp field',
      { sentAt: new DatabaseId() },
      "sentAt: expected an object with 'seconds', 'nanos', got an object, sends an empty object",
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
    ['a number in a bytes field', { photo: 5 }, 'photo: expected a Buffer, got 5, sends nothing'],
    [
      'a string without a number in a 64-bit field',
      { createdAt: 'now' },
      'createdAt: expected an integer, got a string of length 3, sends 0',
    ],
    ['null in a list', { labels: ['x', null] }, 'labels: expected a value, got null, sends "null"'],
    ['a hole in a list', { history: [, 1] }, 'history: expected a value, got nothing, sends 0'],
    ['null in a map', { stock: { tea: null } }, 'stock: expected a value, got null, sends 0'],
    [
      'an array in a map field',
      { stock: [5] },
      'stock: expected an object, got an array of length 1, sends an object with 0',
    ],
    ['0 in place of a list', { labels: 0 }, 'labels: expected an array, got 0, sends an array of length 0'],
    ['NaN in an integer field', { count: NaN }, 'count: expected a number, got NaN, sends 0'],
    ['a fraction in an integer field', { count: 1.5 }, 'count: expected an integer from 0 to 2^32-1, got 1.5, sends 1'],
    [
      'a negative number in an unsigned field',
      { count: -1 },
      'count: expected an integer from 0 to 2^32-1, got -1, sends 4294967295',
    ],
    ['empty text in a number field', { count: '' }, 'count: expected a number, got a string of length 0, sends 0'],
    [
      'a fraction in a 64-bit field',
      { createdAt: '1.5' },
      'createdAt: expected an integer, got a string of length 3, sends 1',
    ],
    [
      'a number above 64 bits',
      { createdAt: 1e21 },
      'createdAt: expected an integer from -2^63 to 2^63-1, got 1e+21, sends 9223372036854776000',
    ],
    [
      'text above 64 bits',
      { createdAt: String(2n ** 63n) },
      'createdAt: expected an integer from -2^63 to 2^63-1, got a string of length 19, sends -9223372036854775808n',
    ],
    [
      'an unsigned Long above 63 bits',
      { createdAt: Long.MAX_UNSIGNED_VALUE },
      'createdAt: expected an integer from -2^63 to 2^63-1, got an object, sends "another integer"',
    ],
    [
      'an object in a boolean field',
      { isGift: { value: false } },
      'isGift: expected a boolean, got an object, sends true',
    ],
    [
      'numbers above 255 in a bytes field',
      { photo: [256] },
      'photo: expected a Buffer, got an array of length 1, sends "other bytes"',
    ],
    [
      'half of a character',
      { parcelId: '\ud800' },
      'parcelId: expected valid Unicode, got a string of length 1, sends "…"',
    ],
    [
      'a fraction in an enum field',
      { status: 1.5 },
      'status: expected an integer from -2^31 to 2^31-1, got 1.5, sends 1',
    ],
    [
      'a Map in a Struct field',
      { extra: new Map() },
      "extra: expected an object with 'fields', got a Map, sends an empty object",
    ],
    [
      'a value of a class instance',
      Object.assign(new Entity(), { count: 'many' }),
      'count: expected a number, got a string of length 4, sends 0',
    ],
    [
      'the value of a getter',
      {
        get status() {
          return 'x';
        },
      },
      "status: expected a value of Status, got a string of length 1; its values are 'UNKNOWN', 'IN_TRANSIT', 'DELIVERED', sends nothing",
    ],
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
    ['a Date as the message', new Date(), `: expected ${PARCEL}, got a Date, sends an empty object`],
    [
      'a Promise in a message field',
      { onlySize: Promise.resolve({ widthMm: 4 }) },
      "onlySize: expected an object with 'widthMm', got a Promise; await it first, sends an empty object",
    ],
  ])(
    'reports %s once, in production too except for keys, and returns the bytes of the serializer',
    (_, message, problem) => {
      const { checked, problems, serialize } = make();
      expect(checked(message)).toEqual(serialize(message));
      expect(checked(message)).toEqual(serialize(message));
      expect(problems()).toEqual([problem]);
      vi.stubEnv('NODE_ENV', 'production');
      onTestFinished(() => {
        vi.unstubAllEnvs();
      });
      const inProduction = make();
      expect(inProduction.checked(message)).toEqual(serialize(message));
      // Production compiles the test of a message, and does not examine its keys.
      expect(inProduction.problems()).toEqual(problem.includes(' → ') ? [] : [problem]);
    },
  );

  it('reports text behind the end of base64, in place of which the serializer sends random bytes', () => {
    const { checked, problems } = make();
    checked({ photo: 'aGk=aGk=' });
    expect(problems()).toEqual(['photo: expected base64, got a string of length 8, sends "other bytes"']);
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
    ['absent values in fields', { parcelId: null, weight: undefined, state: undefined }],
    ['a class instance', new Entity()],
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
    ['an empty array in a map field', { stock: [] }],
    ['an empty Any and Struct', { detail: {}, extra: Object.create(null) as object }],
    ['messages of protobuf-es', { sentAt: { $typeName: 'google.protobuf.Timestamp', seconds: 5n, nanos: 1 } }],
    ['a bigint in createdAt', { createdAt: 5n }],
    ['a Long', { createdAt: Long.fromNumber(5) }],
    ['a Long of 0', { createdAt: Long.ZERO }],
    ['the parts of a Long', { createdAt: { low: 5, high: 0, unsigned: false } }],
    ['a string with a plus sign in a 64-bit field', { createdAt: '+7' }],
    ['a Buffer in photo', { photo: Buffer.of(1) }],
    ['an array in a bytes field', { photo: [1, 2] }],
    ...['aGk=', 'aGk', 'aA==', 'aA=', 'aA'].map(
      (photo) => [`the base64 text ${photo} in a bytes field`, { photo }] as [string, object],
    ),
    ['the largest 64-bit integer, received as a number', { createdAt: 2 ** 63 }],
    ['values of a bool field that convert as intended', { isGift: 1, flags: ['true', Buffer.of(1), 0] }],
    ['absent nested values', { sentAt: null, extra: undefined, status: null, photo: null, isGift: null, items: null }],
    [
      'a class instance in a message field, a list, and a map',
      { onlyItem: new ItemEntity(), items: [new ItemEntity()], itemByName: { tea: new ItemEntity() } },
    ],
    ['values of an enum whose name fits two types', { stop: { states: ['UNKNOWN'] } }],
    ['an object with toJSON()', { onlyItem: { name: 'tea', toJSON: () => ({}) } }],
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
      const method = { ...methodOf('Send'), requestType } as unknown as MethodDefinition<object, object>;
      const { checked, problems, serialize } = make({ method });
      expect(checked({ parcel_id: '7' })).toEqual(serialize({ parcel_id: '7' }));
      expect(problems()).toEqual([]);
    },
  );

  it.each<[what: string, overrides: Parameters<typeof make>[0], message: object]>([
    [
      'the descriptor',
      {
        files: [Buffer.from('no descriptor')],
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
    // The text of the function is that of a serializer of proto-loader.
    const serialize = () => Buffer.from('bytes'.replace('.fromObject(', ''));
    const { checked, problems } = make({ serialize, ...overrides });
    expect(String(checked(message))).toBe('bytes');
    expect(problems()).toEqual([]);
  });

  it('reports the fields of a nested message after it has reported the nested message itself', () => {
    const { checked, reported } = make();
    checked({ onlyItem: [] });
    checked({ onlyItem: { unit_price: 1 } });
    checked({ onlyItem: { unitPrice: 'many' } });
    checked({ onlyItem: [] });
    expect(reported.map(({ field }) => field)).toEqual(['onlyItem', 'onlyItem.unit_price', 'onlyItem.unitPrice']);
  });

  it('does not report a Buffer that the application serialized', () => {
    const { checked, problems } = make({ serialize: (message) => message as Buffer });
    expect(checked(Buffer.from('bytes'))).toEqual(Buffer.from('bytes'));
    expect(problems()).toEqual([]);
  });

  it('examines every element of a list and of a map, at any depth', () => {
    const { checked, problems } = make();
    const nest = (message: object, levels: number): object =>
      levels === 0 ? message : { parentParcel: nest(message, levels - 1) };
    const items = Array.from({ length: 1000 }, (_, index) => ({ unitPrice: index === 999 ? 'many' : 1 }));
    checked(nest({ items, itemByName: Object.fromEntries(items.entries()) }, 6));
    const path = 'parentParcel.'.repeat(6);
    const problem = 'expected a number, got a string of length 4, sends NaN';
    expect(problems()).toEqual([`${path}items.unitPrice: ${problem}`, `${path}itemByName.unitPrice: ${problem}`]);
  });

  it('examines the keys of at most 50 messages, including nested ones, per message of a call', () => {
    const { checked, problems } = make();
    const items = Array.from({ length: 50 }, () => ({}));
    checked({ items: [...items, { unit_price: 1 }] });
    expect(problems()).toEqual([]);
    checked({ items: [...items.slice(1), { unit_price: 1 }] });
    expect(problems()).toEqual(['items.unit_price → unitPrice']);
  });

  // The other bytes are those of memory that the serializer did not write.
  it.each(['aA==YQ==', 'aGk=a', 'aGk=='])('reports the text %s in a bytes field', (photo) => {
    const { checked, problems } = make();
    checked({ photo });
    const length = String(photo.length);
    expect(problems()).toEqual([`photo: expected base64, got a string of length ${length}, sends "other bytes"`]);
  });

  it('lets the serializer throw its own error if a message contains itself', () => {
    const { checked, problems } = make();
    const message: Record<string, unknown> = {};
    message['parentParcel'] = message;
    expect(() => checked(message)).toThrow('maximum nesting depth exceeded');
    expect(problems()).toEqual([]);
  });

  it.each(['production', 'development'])(
    'does not go through a message or data that contain themselves twice on all paths (%s)',
    (environment) => {
      vi.stubEnv('NODE_ENV', environment);
      onTestFinished(() => {
        vi.unstubAllEnvs();
      });
      const { checked, problems } = make();
      const message: Record<string, unknown> = { parcelId: '7' };
      message['parentParcel'] = { otherParcel: message, bundle: [message, message] };
      expect(() => checked(message)).toThrow('maximum nesting depth exceeded');
      expect(problems()).toEqual([]);
      const data: Record<string, unknown> = {};
      const list = [data, data];
      Object.assign(data, { first: list, second: data });
      checked({ extra: data });
      expect(problems()).toEqual(["extra: expected an object with 'fields', got an object, sends an empty object"]);
    },
  );

  it('reports at most 1,000 paths, because a message type that contains itself has any number', () => {
    const { checked, reported } = make();
    const nest = (path: string): object =>
      path === '' ? { count: 'x' } : { [path[0] === '0' ? 'parentParcel' : 'otherParcel']: nest(path.slice(1)) };
    for (let path = 0; path < 1025; path++) checked(nest(path.toString(2)));
    expect(reported).toHaveLength(1000);
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

  it.each(['production', 'development'])(
    'runs the getter of a field once before the serializer does (%s)',
    (environment) => {
      vi.stubEnv('NODE_ENV', environment);
      onTestFinished(() => {
        vi.unstubAllEnvs();
      });
      let reads = 0;
      const message = {
        get parcelId() {
          reads += 1;
          return 'x';
        },
      };
      const { checked, serialize } = make();
      serialize(message);
      const alone = reads;
      checked(message);
      expect(reads).toBe(2 * alone + 1);
    },
  );

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
