import { describe, expect, it, vi } from 'vitest';
import * as main from '../index.js';
import * as operators from '../operators/index.js';
import * as server from '../server/index.js';
import * as testing from '../testing/index.js';

type ErrorClass = new (...args: never[]) => Error;

/** The error classes that the entries export, by name. */
const EXPORTED = new Map(
  [main, operators, server, testing]
    .flatMap((entry) => Object.entries<unknown>(entry))
    .filter((entry): entry is [string, ErrorClass] => {
      const [, value] = entry;
      return typeof value === 'function' && value.prototype instanceof Error;
    }),
);

/** The module of each error class. */
const MODULES: Readonly<Record<string, () => Promise<object>>> = {
  CircuitOpenError: () => import('./operator-errors.js'),
  ConcurrencyLimitError: () => import('./operator-errors.js'),
  CursorRegressionError: () => import('./stream-errors.js'),
  DeadlineError: () => import('./operator-errors.js'),
  GrpcCallError: () => import('./grpc-call-error.js'),
  GrpcConfigurationError: () => import('./grpc-configuration-error.js'),
  GrpcException: () => import('../server/errors/grpc-exception.js'),
  IdleTimeoutError: () => import('./operator-errors.js'),
  ReplayError: () => import('./stream-errors.js'),
  ResumeError: () => import('./stream-errors.js'),
};

describe('error classes of several copies of the package', () => {
  it('tests each error class that an entry exports', () => {
    expect([...EXPORTED.keys()].sort()).toEqual(Object.keys(MODULES));
  });

  it.each(Object.entries(MODULES))(
    'treats an instance of %s from another copy of the package as an instance of the same class, but not of a subclass or another class',
    async (name, load) => {
      vi.resetModules();
      const own = EXPORTED.get(name)!;
      const other = Reflect.get(await load(), name) as ErrorClass;
      expect(other).not.toBe(own);
      const foreign: unknown = Object.create(other.prototype);
      const matching = [...EXPORTED].filter(([, type]) => foreign instanceof type);
      expect(matching.map(([match]) => match)).toEqual([name]);
      expect(Object.create(own.prototype) instanceof other).toBe(true);
      class Mine extends own {}
      expect(foreign instanceof Mine).toBe(false);
      const mine: unknown = Object.create(Mine.prototype);
      expect([mine instanceof Mine, mine instanceof own, mine instanceof other]).toEqual([true, true, true]);
      expect([new Error(name), { name }, undefined].filter((value) => value instanceof own)).toEqual([]);
    },
  );
});
