import { Channel, credentials } from '@grpc/grpc-js';
import { expect, it } from 'vitest';
import { canonicalTarget } from './create-client.js';

it.each([
  ['orders:50051', 'dns:///orders:50051'],
  ['127.0.0.1:50051', 'dns:///127.0.0.1:50051'],
  ['[::1]:50051', 'dns:///[::1]:50051'],
  ['dns:///orders:50051', 'dns:///orders:50051'],
  ['dns:orders:50051', 'dns:orders:50051'],
  ['dns://8.8.8.8/orders:50051', 'dns://8.8.8.8/orders:50051'],
  ['ipv4:10.0.0.1:50051,10.0.0.2:50051', 'ipv4:10.0.0.1:50051,10.0.0.2:50051'],
  ['unix:/run/orders.sock', 'unix:/run/orders.sock'],
])('canonicalizes the target %s to %s', (target, canonical) => {
  const channel = new Channel(target, credentials.createInsecure(), {});
  expect(canonicalTarget(target, channel)).toBe(canonical);
  channel.close();
});
