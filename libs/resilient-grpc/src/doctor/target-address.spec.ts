import { describe, expect, it } from 'vitest';
import { addressText, kindOf } from './target-address.js';

describe('target address', () => {
  it.each([
    ['127.0.0.53', 'loopback'],
    ['::1', 'loopback'],
    ['10.4.0.9', 'private'],
    ['172.31.0.1', 'private'],
    ['172.32.0.1', 'public'],
    ['192.168.1.1', 'private'],
    ['fd00::1', 'private'],
    ['169.254.169.254', 'link-local'],
    ['fe80::1', 'link-local'],
    ['0.0.0.0', 'any'],
    ['93.184.216.34', 'public'],
    ['2606:2800::1', 'public'],
  ])('classifies the address %s as %s', (host, kind) => {
    expect(kindOf({ host, port: 1 })).toBe(kind);
  });

  it('formats an address as grpc-js does, and classifies a path as a Unix socket', () => {
    expect(addressText({ host: '10.0.0.7', port: 50051 })).toBe('10.0.0.7:50051');
    expect(addressText({ host: '::1', port: 50051 })).toBe('[::1]:50051');
    expect(addressText({ path: '/run/orders.sock' })).toBe('/run/orders.sock');
    expect(kindOf({ path: '/run/orders.sock' })).toBe('unix socket');
  });
});
