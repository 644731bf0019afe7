import { expect, it } from 'vitest';
import { addressKey } from './address-key.js';

it('formats an address as grpc-js does', () => {
  expect(addressKey({ host: '10.0.0.7', port: 50051 })).toBe('10.0.0.7:50051');
  expect(addressKey({ host: '::1', port: 50051 })).toBe('[::1]:50051');
  expect(addressKey({ path: '/run/orders.sock' })).toBe('/run/orders.sock');
});
