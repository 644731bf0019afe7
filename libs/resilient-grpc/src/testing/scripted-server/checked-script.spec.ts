import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GrpcConfigurationError } from '../../errors/grpc-configuration-error.js';
import { checkedScript } from './checked-script.js';
import { findMethod, loadMethods } from './service-methods.js';

const PROTO = `
  syntax = "proto3";
  import "google/protobuf/any.proto";
  import "google/protobuf/empty.proto";
  import "google/protobuf/wrappers.proto";
  service Shapes {
    rpc Get(Shape) returns (Shape);
    rpc Wrap(Shape) returns (google.protobuf.Any);
    rpc Clear(Shape) returns (google.protobuf.Empty);
    rpc Describe(Shape) returns (google.protobuf.StringValue);
  }
  message Shape {
    string shape_id = 1;
    oneof kind { string round = 2; string square = 3; }
    optional int32 max_size = 4;
    map<string, Shape> by_name = 5;
    google.protobuf.StringValue note = 6;
    google.protobuf.Any extra = 7;
  }
`;

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shapes-'));
  await writeFile(join(folder, 'shapes.proto'), PROTO);
});
afterAll(() => rm(folder, { recursive: true }));

function load(method: string, loader = {}) {
  return findMethod(loadMethods({ protoPath: join(folder, 'shapes.proto'), loader }), method);
}

function problems(message: unknown, method = 'Get', loader = {}) {
  const loaded = load(method, loader);
  try {
    checkedScript(loaded, { message });
    return [];
  } catch (error) {
    if (!(error instanceof GrpcConfigurationError)) throw error;
    return error.problems.map(({ path, message: text }) => `${path.replace(/^.*\]\./, '')}: ${text}`);
  }
}

describe('checkedScript', () => {
  it.each([
    ['camel case', {}, 'shapeId', 'shape_id'],
    ['the original case', { keepCase: true }, 'shape_id', 'shapeId'],
  ])(
    'accepts field names of a scripted response in the naming style of the loader (%s), and suggests them for names in another style',
    (_, loader, right, wrong) => {
      expect(problems({ [right]: '7' }, 'Get', loader)).toEqual([]);
      expect(problems({ [wrong]: '7' }, 'Get', loader)).toEqual([
        `message.${wrong}: unknown field of Shape; did you mean '${right}'?`,
      ]);
    },
  );

  it('reports values of a scripted response that the serializer would convert to "[object Object]" or 0 in string and number fields', () => {
    expect(problems({ shapeId: { a: 1 }, maxSize: 'seven' })).toEqual([
      'message.shapeId: expected a string, got an object with a; the server would send "[object Object]" instead',
      'message.maxSize: expected a number, got "seven"; the server would send 0 instead',
    ]);
    expect(problems({ shapeId: 7, maxSize: '7', note: { value: 'x' } })).toEqual([]);
    expect(problems({ maxSize: NaN })).toEqual([
      'message.maxSize: expected a number, got NaN; the server would send 0 instead',
    ]);
  });

  it('lists the fields of the message type for an unknown field of a scripted response, or states that the type has none', () => {
    expect(problems({ quantity: 7 })).toEqual([
      'message.quantity: unknown field of Shape; known fields: shapeId, round, square, maxSize, byName, note, extra',
    ]);
    expect(problems({ quantity: 7 }, 'Clear')).toEqual([
      'message.quantity: unknown field of Empty, which has no fields; write message: {}',
    ]);
  });

  it.each([
    { oneofs: true, defaults: true, arrays: true, objects: true },
    { keepCase: true, oneofs: true },
  ])('accepts a scripted response that was deserialized with the loader options %o', (loader) => {
    const method = load('Get', loader);
    const [id, size] = 'keepCase' in loader ? ['shape_id', 'max_size'] : ['shapeId', 'maxSize'];
    const copy = method.responseDeserialize(method.responseSerialize({ [id]: '7', [size]: 5, square: 'x' }));
    expect(copy).toMatchObject({ kind: 'square' });
    expect(problems(copy, 'Get', loader)).toEqual([]);
  });

  it('accepts scripted responses that are class instances, or that contain maps, wrappers, Any, keys of other code generators, absent values, or methods', () => {
    const message = {
      byName: { any: { shapeId: '7' } },
      note: { value: 'x' },
      extra: { '@type': 'type.googleapis.com/Shape', shapeId: '8' },
      $typeName: 'Shape',
      _unknownFields: {},
      absent: undefined,
      deletedAt: null,
      describe: () => 'a shape',
    };
    expect(problems(message)).toEqual([]);
    expect(problems({ '@type': 'type.googleapis.com/Shape', shapeId: '8' }, 'Wrap')).toEqual([]);
    class Entity {
      shapeId = '7';
      version = 3;
      get size() {
        return 5;
      }
    }
    expect(problems(new Entity())).toEqual([]);
    expect(problems(Object.assign(Object.create(null), { shapeId: '7' }))).toEqual([]);
  });

  it('reports a scripted response that the serializer would read as an empty message, such as a Date or a Promise', () => {
    const sent = 'the server would send an empty object instead';
    expect(problems(new Date(), 'Describe')).toEqual([`message: expected an object with 'value', got a Date; ${sent}`]);
    expect(problems(Promise.resolve({}), 'Describe')).toEqual([
      `message: expected an object with 'value', got a Promise; await it first; ${sent}`,
    ]);
    expect(problems(new Map(), 'Wrap')).toEqual([
      `message: expected an object with 'type_url', 'value', got a Map; ${sent}`,
    ]);
    class Note {
      get value() {
        return 'x';
      }
    }
    class PackedShape {
      readonly '@type' = 'type.googleapis.com/Shape';
    }
    expect([...problems(new Note(), 'Describe'), ...problems(new PackedShape(), 'Wrap')]).toEqual([]);
  });
});
