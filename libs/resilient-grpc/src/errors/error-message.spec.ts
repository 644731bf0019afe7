import { runInNewContext } from 'node:vm';
import { expect, it } from 'vitest';
import { errorMessage, isError, maskAddress, maskCredentials } from './error-message.js';

it.each([
  ['this realm', new TypeError('no')],
  // As in Jest, where the errors of Node's modules come from another realm.
  ['another realm', runInNewContext('new TypeError("no")') as unknown],
])('recognizes an Error from %s and returns its message', (_, error) => {
  expect(isError(error)).toBe(true);
  expect(errorMessage(error)).toBe('no');
});

it('converts a value that is not an Error to a string', () => {
  expect(isError({ message: 'no' })).toBe(false);
  expect(errorMessage('no')).toBe('no');
  expect(errorMessage(undefined)).toBe('undefined');
});

it.each([
  ['no redis://app:hush@cache:1/0 today', 'no redis://***@cache:1/0 today'],
  ['http://hush@a and https://b:c@d', 'http://***@a and https://***@d'],
  ['http://me:hu/sh@x@host', 'http://***@host'],
  ['at file:///a@b/c.js:1', 'at file:///a@b/c.js:1'],
  ['https://host/a', 'https://host/a'],
  ['no consul:///me:hush@agent/orders today', 'no consul:///***@agent/orders today'],
  ['xds:///orders@v1', 'xds:///orders@v1'],
  ['unix:///a:b@c.sock', 'unix:///a:b@c.sock'],
  ['at webpack:///./node_modules/@grpc/a.js:1', 'at webpack:///./node_modules/@grpc/a.js:1'],
])('masks the credentials in a message: %j becomes %j', (text, masked) => {
  expect(maskCredentials(text)).toBe(masked);
});

it.each([
  ['at https://me:hush', 'at https://***'],
  ['at consul:///me:hush', 'at consul:///***'],
  ['at consul:///me:hush soon', 'at consul:///me:hush soon'],
  ['at webpack:///./node_modules/@grpc/a.js:1', 'at webpack:///./node_modules/@grpc/a.js:1'],
])('masks the credentials in a truncated message: %j becomes %j', (text, masked) => {
  expect(maskCredentials(text, true)).toBe(masked);
});

it.each([
  ['me:hush', '***'],
  ['dns:me:hush', 'dns:***'],
  ['orders', 'orders'],
  ['orders: not reached', 'orders: not reached'],
  ['{"a":1', '{"a":1'],
])('masks the credentials in a truncated address: %j becomes %j', (address, masked) => {
  expect(maskAddress(address, true)).toBe(masked);
});

it.each([
  ['me:hush@orders:1', '***@orders:1'],
  ['dns:me:hush@orders:1', 'dns:***@orders:1'],
  ['dns:///me:hush@orders:1', 'dns:///***@orders:1'],
  ['me:hu sh@orders:1', '***@orders:1'],
  ['unix:/run/a:b@c.sock', 'unix:/run/a:b@c.sock'],
  ['orders:50051', 'orders:50051'],
])('masks the credentials in an address: %j becomes %j', (address, masked) => {
  expect(maskAddress(address)).toBe(masked);
});

it.each(['[2001:db8::1]:50051,', 'a:', 'x:///', 'x:///a:', '://', '@'])(
  'masks the credentials in an address with many repetitions of %j in linear time',
  (part) => {
    const timeOf = (length: number): number => {
      const text = part.repeat(Math.ceil(length / part.length));
      const begin = process.cpuUsage();
      for (const isCut of [false, true]) maskAddress(text, isCut);
      const { user, system } = process.cpuUsage(begin);
      return (user + system) / 1_000;
    };
    // For 16 times the length, quadratic time would be 256 times as long. Uses the best CPU time of three runs.
    const best = (length: number): number => Math.max(1, Math.min(timeOf(length), timeOf(length), timeOf(length)));
    expect(best(160_000) / best(10_000)).toBeLessThan(100);
  },
);
