import { join } from 'node:path';
import { loadSync } from '@grpc/proto-loader';
import { describe, expect, it } from 'vitest';
import { GrpcConfigurationError } from '../../errors/grpc-configuration-error.js';
import { findService, loadContract, type Services } from './contract.js';

const proto = (name: string) => join(import.meta.dirname, 'fixtures', `${name}.proto`);

function load(contract: Parameters<typeof loadContract>[0]): Services {
  const loaded = loadContract(contract, 'clients.shop');
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems));
  return loaded.services;
}

function problems(contract: Parameters<typeof loadContract>[0]): string {
  const loaded = loadContract(contract, 'clients.shop');
  return loaded.ok ? '' : loaded.problems.map(({ path, message }) => `${path}: ${message}`).join('\n');
}

describe('loadContract', () => {
  it('returns the services of a contract by full name, with the properties of their methods', () => {
    const orders = load({ protoPath: proto('shop') }).get('shop.v1.Orders');
    expect(
      [...(orders?.values() ?? [])].map(({ path, kind, alias, declaredIdempotent }) => [
        path,
        kind,
        alias,
        declaredIdempotent,
      ]),
    ).toEqual([
      ['/shop.v1.Orders/Get', 'unary', 'get', true],
      ['/shop.v1.Orders/Put', 'unary', 'put', true],
      ['/shop.v1.Orders/Create', 'unary', 'create', false],
      ['/shop.v1.Orders/GetHTTP', 'unary', 'getHttp', false],
      ['/shop.v1.Orders/Watch', 'server-stream', 'watch', false],
      ['/shop.v1.Orders/Upload', 'client-stream', 'upload', false],
      ['/shop.v1.Orders/Session', 'bidi', 'session', false],
    ]);
  });

  it('passes the loader options to proto-loader, and encodes and decodes messages accordingly', () => {
    const create = load({ protoPath: proto('shop'), loader: { longs: String } })
      .get('shop.v1.Orders')
      ?.get('Create');
    const bytes = create?.requestSerialize({ id: 'a', sequence: '9007199254740993' });
    expect(create?.responseDeserialize(bytes as Buffer)).toEqual({ id: 'a', sequence: '9007199254740993' });
  });

  it('resolves a relative protoPath against includeDirs, like Nest', () => {
    expect([
      ...load({ protoPath: 'shop.proto', loader: { includeDirs: [join(import.meta.dirname, 'fixtures')] } }).keys(),
    ]).toContain('shop.v1.Orders');
  });

  it('accepts a loaded package definition', () => {
    expect([...load({ packageDefinition: loadSync(proto('archive')) }).keys()]).toEqual(['archive.v1.Orders']);
  });

  it('returns the services of all packages, or of the named packages only', () => {
    const both = [proto('shop'), proto('archive')];
    expect([...load({ protoPath: both }).keys()]).toEqual(['shop.v1.Orders', 'shop.v1.Nothing', 'archive.v1.Orders']);
    expect([...load({ protoPath: both, package: 'archive.v1' }).keys()]).toEqual(['archive.v1.Orders']);
    expect([...load({ protoPath: both, package: ['archive.v1', 'shop.v1'] }).keys()]).toHaveLength(3);
  });

  it.each([
    ['a missing definition', {}, 'protoPath: expected a .proto file, or packageDefinition, got nothing'],
    [
      'protoPath together with packageDefinition',
      { protoPath: 'a', packageDefinition: {} },
      'packageDefinition: expected protoPath or packageDefinition, got both',
    ],
    ['a number as path', { protoPath: 4 }, 'protoPath: expected a .proto file or an array of them, got 4'],
    [
      'an empty list of paths',
      { protoPath: [] },
      'protoPath: expected a .proto file or an array of them, got an array',
    ],
    [
      'a device as path',
      { protoPath: '/dev/zero' },
      'protoPath: expected a .proto file or an array of them, got "/dev',
    ],
    [
      'a missing file',
      { protoPath: [proto('shop'), 'nowhere/shop.proto'] },
      `protoPath: expected an existing file, got "nowhere/shop.proto" (resolved to ${process.cwd()}/nowhere/shop.proto)`,
    ],
    [
      'a missing file with an absolute path',
      { protoPath: '/nowhere/shop.proto' },
      'protoPath: expected an existing file, got "/nowhere/shop.proto"; nest build copies a file only if "assets"',
    ],
    [
      'a missing import',
      { protoPath: proto('missing-import') },
      'protoPath: expected a valid .proto file, got "ENOENT',
    ],
    [
      'a file that is not a .proto',
      { protoPath: import.meta.filename },
      'protoPath: expected a valid .proto file, got',
    ],
    [
      'a definition without services',
      { protoPath: proto('only-messages') },
      'protoPath: expected at least one service, got none',
    ],
    [
      'an unknown package',
      { protoPath: proto('shop'), package: ['shop.v1', 'x'] },
      "package: expected a package with a service, got 'x'; known packages: 'shop.v1'",
    ],
    [
      'a grpc-js object instead of a definition',
      { packageDefinition: { shop: class {} } },
      "packageDefinition: expected the result of proto-loader's loadSync(), got an object with shop",
    ],
  ])('reports the path, the expected value, and the given one for a contract with %s', (_, contract, expected) => {
    expect(problems(contract)).toContain(`clients.shop.${expected}`);
  });
});

describe('service lookup', () => {
  const services = load({ protoPath: [proto('shop'), proto('archive')] });

  it('finds a service by its full name, or by its short name if only one package has it', () => {
    expect(findService(services, 'Nothing', 'shop')).toBe('shop.v1.Nothing');
    expect(findService(services, 'archive.v1.Orders', 'shop')).toBe('archive.v1.Orders');
  });

  it('requires the full name of a service if two packages define the same short name', () => {
    const message =
      "expected the full name of a service, got 'Orders'; write one of 'shop.v1.Orders', 'archive.v1.Orders'";
    expect(() => findService(services, 'Orders', 'shop')).toThrow(
      new GrpcConfigurationError([{ path: 'clients.shop', message }]),
    );
  });

  it('suggests the closest name for an unknown service', () => {
    expect(() => findService(services, 'Nothin', 'shop')).toThrow(
      /clients\.shop: expected a service of the client, got 'Nothin'; did you mean 'Nothing'\?/,
    );
  });
});
