import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { findPath, loadMethods } from './service-methods.js';
import type { LoadedMethod } from './service-methods.js';

const protoPath = fileURLToPath(new URL('../../../../../protos/testing/echo.proto', import.meta.url));

describe('loadMethods', () => {
  it('gives the methods of all services, by path', () => {
    const methods = loadMethods({ protoPath });
    expect([...methods.keys()]).toEqual(
      ['Unary', 'UnsafeUnary', 'ClientStream', 'ServerStream', 'Bidi'].map((name) => `/testing.v1.Echo/${name}`),
    );
    expect(methods.get('/testing.v1.Echo/Bidi')).toMatchObject({ requestStream: true, responseStream: true });
  });

  it('gives those of the packages asked for, and fails when that leaves none', () => {
    expect(loadMethods({ protoPath, package: ['testing.v1', 'other'] }).size).toBe(5);
    // A package is not asked for by the beginning of its name.
    expect(() => loadMethods({ protoPath, package: 'test' })).toThrow(/no service in .*echo\.proto of test/);
  });
});

describe('findPath', () => {
  const paths = ['/a.v1.Orders/Get', '/b.v1.Orders/Get', '/b.v1.Orders/GetAll'];
  const methods = new Map(
    paths.map((path) => {
      const method = path.slice(path.lastIndexOf('/') + 1);
      const originalName = method.charAt(0).toLowerCase() + method.slice(1);
      return [path, { path, originalName } as LoadedMethod];
    }),
  );

  it.each([
    ['GetAll', '/b.v1.Orders/GetAll'],
    ['getAll', '/b.v1.Orders/GetAll'],
    ['Orders/GetAll', '/b.v1.Orders/GetAll'],
    ['a.v1.Orders/Get', '/a.v1.Orders/Get'],
    ['/b.v1.Orders/Get', '/b.v1.Orders/Get'],
  ])('%s is %s', (name, path) => {
    expect(findPath(methods, name)).toBe(path);
  });

  it.each([
    ['Get', "'Get' is more than one of /a.v1.Orders/Get, /b.v1.Orders/Get"],
    ['Orders/Get', "'Orders/Get' is more than one of /a.v1.Orders/Get, /b.v1.Orders/Get"],
    ['All', "'All' is no method of /a.v1.Orders/Get, /b.v1.Orders/Get, /b.v1.Orders/GetAll"],
  ])('%s is refused, with the methods there are', (name, message) => {
    expect(() => findPath(methods, name)).toThrow(message);
  });
});
