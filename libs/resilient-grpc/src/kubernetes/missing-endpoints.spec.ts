import { describe, expect, it } from 'vitest';
import { missingEndpoints } from './missing-endpoints.js';

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
