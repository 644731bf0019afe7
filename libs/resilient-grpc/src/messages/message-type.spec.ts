import { loadSync, type ServiceDefinition } from '@grpc/proto-loader';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { filesOf } from './file-descriptors.js';
import { messageTypeOf } from './message-type.js';

const folder = mkdtempSync(join(tmpdir(), 'messages-'));
afterAll(() => {
  rmSync(folder, { recursive: true });
});

/** Returns the request type of the first method of `service` in a file with `proto`. */
function requestTypeOf(proto: string, service: string) {
  const file = join(folder, 'file.proto');
  writeFileSync(file, `syntax = "proto3"; ${proto}`);
  const [method] = Object.values(loadSync(file)[service] as ServiceDefinition);
  return messageTypeOf(method!.path, filesOf(method!)!, 'request')!;
}

describe('messageTypeOf', () => {
  it('finds the message type in the package of the service if another package has a type with the same name', () => {
    writeFileSync(join(folder, 'v2.proto'), 'syntax = "proto3"; package a.v2; message Order { string v2 = 1; }');
    const proto = `package a.v1; import "${join(folder, 'v2.proto')}";
      service S { rpc M(Order) returns (a.v2.Order); }
      message Order { string v1 = 1; a.v2.Order other = 2; Order same = 3; }`;
    const type = requestTypeOf(proto, 'a.v1.S');
    expect(type.fullName).toBe('a.v1.Order');
    expect([...type.fields.keys()]).toEqual(['v1', 'other', 'same']);
    expect(type.fields.get('other')).toMatchObject({ kind: 'message', type: { fullName: 'a.v2.Order' } });
    expect(type.fields.get('same')).toMatchObject({
      kind: 'message',
      holds: 'single',
      type: { fullName: 'a.v1.Order' },
    });
  });

  it('finds nested types, types without a package, and the values of maps', () => {
    const proto = `service S { rpc M(A.B) returns (A); }
      message A {
        message B { map<string, C> cs = 1; map<int32, Color> colors = 2; repeated A as = 3; map<bool, bytes> raw = 4; }
        message C { B b = 1; }
      }
      enum Color { RED = 0; BLUE = 1; }`;
    const type = requestTypeOf(proto, 'S');
    expect(type.fullName).toBe('A.B');
    expect(type.fields.get('cs')).toMatchObject({ kind: 'message', holds: 'map', type: { fullName: 'A.C' } });
    expect(type.fields.get('colors')).toEqual({
      number: 2,
      kind: 'enum',
      holds: 'map',
      keys: { kind: 'integer', unsigned: false },
      name: 'Color',
      values: new Set(['RED', 'BLUE']),
    });
    expect(type.fields.get('as')).toMatchObject({ kind: 'message', holds: 'list', type: { fullName: 'A' } });
    expect(type.fields.get('raw')).toEqual({ number: 4, kind: 'bytes', holds: 'map', keys: { kind: 'boolean' } });
  });

  it('finds the value type of a map if the message that contains the map also contains a type with the same name', () => {
    const proto = `service S { rpc M(A) returns (A); }
      message A { enum Color { NONE = 0; } map<string, .Color> colors = 1; }
      enum Color { RED = 0; }`;
    expect(requestTypeOf(proto, 'S').fields.get('colors')).toMatchObject({ kind: 'enum', values: new Set(['RED']) });
  });

  it('does not guess the type of a field whose type name fits two types', () => {
    const proto = `service S { rpc M(A.B) returns (A); }
      message A { enum State { ON = 0; } message B { enum State { OFF = 0; } A.State outer = 1; } }`;
    expect(requestTypeOf(proto, 'S').fields.get('outer')).toEqual({ number: 1, kind: 'other', holds: 'single' });
  });
});
