import { expect, it } from 'vitest';
import { dnsNameOf } from './dns-name.js';

it.each<[target: string, host: string | undefined, authority?: string]>([
  ['orders:50051', 'orders'],
  ['orders', 'orders'],
  ['orders.shop.svc.cluster.local:50051', 'orders.shop.svc.cluster.local'],
  ['dns:orders:50051', 'orders'],
  ['dns:///orders:50051', 'orders'],
  ['dns:///orders', 'orders'],
  ['dns://10.0.0.1/orders:50051', 'orders', '10.0.0.1'],
  ['dns://10.0.0.1:5353/orders:50051', 'orders', '10.0.0.1:5353'],
  ['127.0.0.1:50051', '127.0.0.1'],
  ['[::1]:50051', '::1'],
  ['dns:///[::1]', '::1'],
  ['unix:/run/orders.sock', undefined],
  ['unix:///run/orders.sock', undefined],
  ['ipv4:127.0.0.1:50051', undefined],
  ['ipv6:[::1]:50051', undefined],
  ['xds:///orders', undefined],
  ['', undefined],
])('parses the DNS name of %j as %j', (target, host, authority) => {
  expect(dnsNameOf(target)).toEqual(host === undefined ? undefined : { host, authority });
});
