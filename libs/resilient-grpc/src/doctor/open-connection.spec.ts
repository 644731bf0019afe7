import { expect, it } from 'vitest';
import { authorityHost } from './open-connection.js';

it.each([
  ['dns:///orders.shop:443', 'orders.shop'],
  ['dns:orders.shop', 'orders.shop'],
  ['dns://127.0.0.1:53/orders.shop:443', 'orders.shop'],
  ['dns:[::1]:443', '::1'],
  ['ipv4:10.0.0.7:50051,10.0.0.8:50051', '10.0.0.7'],
  ['ipv4:10.0.0.7', '10.0.0.7'],
  ['ipv6:[::1]:50051,[::2]:50051', '::1'],
  ['ipv6:::1', '::1'],
  ['kubernetes:///orders.shop:50051', 'orders.shop'],
  ['kubernetes:///orders.shop:grpc', 'orders.shop'],
  ['unix:/run/orders.sock', 'localhost'],
])('returns the host that the doctor expects in the certificate of %s: %s', (canonicalTarget, host) => {
  expect(authorityHost(canonicalTarget)).toBe(host);
});
