import { expect, it } from 'vitest';
import { maskAddress, maskCredentials } from './mask-credentials.js';

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
])('maskCredentials() turns %j into %j', (text, masked) => {
  expect(maskCredentials(text)).toBe(masked);
});

it('maskCredentials() masks a URL that is cut', () => {
  expect(maskCredentials('at https://me:hush', true)).toBe('at https://***');
});

it.each([
  ['me:hush', '***'],
  ['dns:me:hush', 'dns:***'],
  ['orders', 'orders'],
  ['orders: not reached', 'orders: not reached'],
  ['{"a":1', '{"a":1'],
])('maskAddress() turns %j into %j if it is cut', (address, masked) => {
  expect(maskAddress(address, true)).toBe(masked);
});

it.each([
  ['me:hush@orders:1', '***@orders:1'],
  ['dns:me:hush@orders:1', 'dns:***@orders:1'],
  ['dns:///me:hush@orders:1', 'dns:///***@orders:1'],
  ['me:hu sh@orders:1', '***@orders:1'],
  ['unix:/run/a:b@c.sock', 'unix:/run/a:b@c.sock'],
  ['orders:50051', 'orders:50051'],
])('maskAddress() turns %j into %j', (address, masked) => {
  expect(maskAddress(address)).toBe(masked);
});
