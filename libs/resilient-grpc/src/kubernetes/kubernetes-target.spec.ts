import { describe, expect, it } from 'vitest';
import { parseKubernetesTarget, missingEndpoints } from './kubernetes-target.js';

const parse = (path: string, authority = '') => parseKubernetesTarget({ scheme: 'kubernetes', authority, path });

describe('parseKubernetesTarget', () => {
  it.each([
    ['orders', { service: 'orders', namespace: undefined, port: undefined, authority: 'orders' }],
    ['orders:50051', { service: 'orders', namespace: undefined, port: 50_051, authority: 'orders:50051' }],
    ['orders.shop:grpc', { service: 'orders', namespace: 'shop', port: 'grpc', authority: 'orders.shop' }],
    ['orders.shop.svc:1', { service: 'orders', namespace: 'shop', port: 1, authority: 'orders.shop.svc:1' }],
    [
      'orders.shop.svc.cluster.local:65535',
      { service: 'orders', namespace: 'shop', port: 65_535, authority: 'orders.shop.svc.cluster.local:65535' },
    ],
    ['0-a.b-1:a1', { service: '0-a', namespace: 'b-1', port: 'a1', authority: '0-a.b-1' }],
  ])('parses the Kubernetes target path %s', (path, expected) => {
    expect(parse(path)).toEqual(expected);
  });

  it.each([
    '',
    'Orders',
    'orders.shop.other',
    '-orders',
    'orders.',
    'orders:',
    'orders:GRPC',
    'orders:a:1',
    'a/b',
    'a'.repeat(64),
  ])("rejects the Kubernetes target path '%s' with an example", (path) => {
    expect(() => parse(path)).toThrow(
      `expected a Kubernetes service, got '${path}'; write 'kubernetes:///orders.shop:50051' (service.namespace:port)`,
    );
  });

  it.each(['0', '65536'])('rejects the port %s in a Kubernetes target', (port) => {
    expect(() => parse(`orders:${port}`)).toThrow(`expected a port from 1 to 65535, got '${port}'`);
  });

  it('rejects an authority in a Kubernetes target, because the Kubernetes configuration names the API server', () => {
    expect(() => parse('orders:50051', 'shop')).toThrow(
      "expected an API server from the Kubernetes configuration, got 'shop' in the target; write 'kubernetes:///orders:50051'",
    );
  });
});

const counts = { ready: 0, notReady: 0, terminating: 0 };

describe('missingEndpoints', () => {
  it.each([
    [
      undefined,
      ['80 (http)', '81 (admin)'],
      "expected a single TCP port, or one named 'grpc', got 80 (http), 81 (admin); write one of these",
    ],
    ['grpc', ['80 (http)', '53/UDP (dns)'], 'expected port grpc, got 80 (http), 53/UDP (dns); write one of these'],
    ['grpc', [], 'defines no ports; write a port number in the target'],
  ])(
    'suggests a remedy for missing endpoints (port of the target: %s, ports of the service: %j)',
    (port, ports, text) => {
      const target = { service: 'orders', namespace: 'shop', port, authority: 'orders' };
      const message = missingEndpoints({ found: false, reason: 'port', counts, ports }, target, 'shop');
      expect(message).toContain('service orders in namespace shop');
      expect(message).toContain(text);
    },
  );
});
