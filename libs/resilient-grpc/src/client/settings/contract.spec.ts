import { join } from 'node:path';
import { loadSync } from '@grpc/proto-loader';
import { describe, expect, it } from 'vitest';
import { loadContract, type Services } from './contract.js';
import { findService, lookUpService } from './find-service.js';

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

describe('a contract', () => {
  it('gives services by full name, with what their methods are', () => {
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

  it('hands the options of the loader on, and writes and reads messages by them', () => {
    const get = load({ protoPath: proto('shop'), loader: { longs: String } })
      .get('shop.v1.Orders')
      ?.get('Create');
    const bytes = get?.requestSerialize({ id: 'a', sequence: '9007199254740993' });
    expect(get?.responseDeserialize(bytes as Buffer)).toEqual({ id: 'a', sequence: '9007199254740993' });
  });

  it('finds imports in includeDirs, as Nest does', () => {
    expect([
      ...load({ protoPath: 'shop.proto', loader: { includeDirs: [join(import.meta.dirname, 'fixtures')] } }).keys(),
    ]).toContain('shop.v1.Orders');
  });

  it('takes a definition that was loaded already', () => {
    expect([...load({ packageDefinition: loadSync(proto('archive')) }).keys()]).toEqual(['archive.v1.Orders']);
  });

  it('has every package with a service, or those that are named', () => {
    const both = [proto('shop'), proto('archive')];
    expect([...load({ protoPath: both }).keys()]).toEqual(['shop.v1.Orders', 'shop.v1.Nothing', 'archive.v1.Orders']);
    expect([...load({ protoPath: both, package: 'archive.v1' }).keys()]).toEqual(['archive.v1.Orders']);
    expect([...load({ protoPath: both, package: ['archive.v1', 'shop.v1'] }).keys()]).toHaveLength(3);
  });

  it.each([
    ['nothing', {}, /clients\.shop\.protoPath: expected a \.proto file, got nothing; write protoPath/],
    ['both', { protoPath: 'a', packageDefinition: {} }, /packageDefinition: .*got both; keep one/],
    ['a number as path', { protoPath: 4 }, /protoPath: .*got 4; write 'orders\.proto'/],
    ['an empty list of paths', { protoPath: [] }, /protoPath: .*an array of 0/],
    ['a file that is not there', { protoPath: '/nowhere.proto' }, /protoPath: .*ENOENT.*write an absolute path/],
    ['a file that is no proto', { protoPath: import.meta.filename }, /protoPath: .*parsed.*line/],
    ['no service', { protoPath: proto('only-messages') }, /protoPath: expected at least one service, found none/],
    [
      'a package that is not there',
      { protoPath: proto('shop'), package: 'shop.v2' },
      /package: .*'shop\.v2'; did you mean 'shop\.v1'/,
    ],
    [
      'one of several packages',
      { protoPath: proto('shop'), package: ['shop.v1', 'x'] },
      /package\[1\]: .*'x'; the definition has 'shop\.v1'/,
    ],
    ['a package that is no text', { protoPath: proto('shop'), package: 7 }, /package: .*got 7/],
    ['a loaded grpc object', { packageDefinition: { shop: class {} } }, /packageDefinition: .*loadPackageDefinition/],
    ['a loader that is no object', { protoPath: proto('shop'), loader: 'x' }, /loader: .*got "x"; write \{ longs/],
  ])('refuses %s, and says what to write', (_, contract, expected) => {
    expect(problems(contract)).toMatch(expected);
  });
});

describe('a service', () => {
  const services = load({ protoPath: [proto('shop'), proto('archive')] });

  it('is found by its short name where one package has it, and by its full name', () => {
    expect(findService(services, 'Nothing', 'shop')).toBe('shop.v1.Nothing');
    expect(findService(services, 'archive.v1.Orders', 'shop')).toBe('archive.v1.Orders');
  });

  it('is asked for by its full name where two packages have it', () => {
    expect(lookUpService(services, 'Orders')).toEqual({
      found: false,
      message: "'Orders' is in several packages; write one of 'shop.v1.Orders', 'archive.v1.Orders'",
    });
  });

  it('that is not there is answered with the one that was meant', () => {
    expect(() => findService(services, 'Nothin', 'shop')).toThrow(
      /clients\.shop: no service 'Nothin'; did you mean 'Nothing'\?/,
    );
  });
});
