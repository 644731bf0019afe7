import { describe, expect, it } from 'vitest';
import { doctorCommand } from './doctor-command.js';

describe('doctorCommand', () => {
  it.each([
    ['orders:50051', undefined, 'orders:50051'],
    ['dns:///orders:50051', {}, 'dns:///orders:50051 --tls'],
    ['[::1]:50051', undefined, "'[::1]:50051'"],
    ['unix:/run/my orders.sock', undefined, "'unix:/run/my orders.sock'"],
    ['kubernetes:///orders.shop:50051', undefined, 'kubernetes:///orders.shop:50051'],
    ['orders:443', { ca: '/etc/ca.pem' }, 'orders:443 --ca /etc/ca.pem'],
    [
      'orders:443',
      { ca: 'FILE', cert: '/c.pem', key: '/k.pem', serverName: 'orders.internal' },
      'orders:443 --ca FILE --cert /c.pem --key /k.pem --server-name orders.internal',
    ],
    ["orders'; rm:1", undefined, "'orders'\\''; rm:1'"],
  ])('returns the doctor command for %s with the TLS options %j', (target, tls, expected) => {
    expect(doctorCommand(target, tls)).toBe(`npx nestjs-resilient-grpc doctor ${expected}`);
  });

  it.each(['xds:///orders', 'consul://agent/orders'])('returns no doctor command for %s', (target) => {
    expect(doctorCommand(target, undefined)).toBeUndefined();
  });

  it.each([
    ['orders.v1.Orders', 'orders:50051 --tls --service orders.v1.Orders'],
    ["a'b", "orders:50051 --tls --service 'a'\\''b'"],
    ['', 'orders:50051 --tls'],
  ])('returns a doctor command that checks the health of the service %o', (service, expected) => {
    expect(doctorCommand('orders:50051', {}, service)).toBe(`npx nestjs-resilient-grpc doctor ${expected}`);
  });
});
