import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { GrpcConfigurationError } from '../../errors/grpc-configuration-error.js';
import { findMethod, loadMethods } from './service-methods.js';
import type { LoadedMethod } from './service-methods.js';

const protoPath = fileURLToPath(new URL('../../../../../protos/testing/echo.proto', import.meta.url));

describe('loadMethods', () => {
  it('loads the methods of all services in a .proto file', () => {
    const methods = loadMethods({ protoPath });
    expect(methods.map(({ path }) => path)).toEqual(
      ['Unary', 'UnsafeUnary', 'ClientStream', 'ServerStream', 'Bidi'].map((name) => `/testing.v1.Echo/${name}`),
    );
    expect(methods.at(-1)).toMatchObject({ requestStream: true, responseStream: true });
  });

  it('loads only the methods of the given packages', () => {
    expect(loadMethods({ protoPath, package: 'testing.v1' })).toHaveLength(5);
    expect(loadMethods({ protoPath, package: ['testing.v1'] })).toHaveLength(5);
  });

  it.each([
    ['a missing file', { protoPath: '/nowhere/echo.proto' }, /protoPath: expected an existing file, got "\/nowhere\//],
    [
      'a file that is not a .proto',
      { protoPath: import.meta.filename },
      /protoPath: expected a valid \.proto file, got/,
    ],
    [
      'an unknown package',
      { protoPath, package: 'shop' },
      /package: expected .* got 'shop'; known packages: 'testing\.v1'$/,
    ],
  ])('rejects %s with a GrpcConfigurationError that names the option', (_, source, message) => {
    expect(() => loadMethods(source)).toThrow(GrpcConfigurationError);
    expect(() => loadMethods(source)).toThrow(message);
  });
});

describe('findMethod', () => {
  const paths = ['/a.v1.Orders/Get', '/b.v1.Orders/Get', '/b.v1.Orders/GetAll'];
  const methods = paths.map((path) => ({ path }) as LoadedMethod);

  it.each([
    ['GetAll', '/b.v1.Orders/GetAll'],
    ['getAll', '/b.v1.Orders/GetAll'],
    ['Orders/GetAll', '/b.v1.Orders/GetAll'],
    ['a.v1.Orders/Get', '/a.v1.Orders/Get'],
    ['/b.v1.Orders/Get', '/b.v1.Orders/Get'],
  ])('resolves the method name %s to the path %s', (name, path) => {
    expect(findMethod(methods, name).path).toBe(path);
  });

  it.each([
    ['Get', "several methods 'Get'; write one of /a.v1.Orders/Get, /b.v1.Orders/Get"],
    ['Orders/Get', "several methods 'Orders/Get'; write one of /a.v1.Orders/Get, /b.v1.Orders/Get"],
    ['All', "no method 'All'; known methods: /a.v1.Orders/Get, /b.v1.Orders/Get, /b.v1.Orders/GetAll"],
  ])('rejects the method name %s and lists methods', (name, message) => {
    expect(() => findMethod(methods, name)).toThrow(message);
  });
});
