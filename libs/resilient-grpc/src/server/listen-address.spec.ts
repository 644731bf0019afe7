import { describe, expect, it } from 'vitest';
import { listenAddress } from './listen-address.js';

describe('listenAddress', () => {
  it.each([
    ['0.0.0.0:50051', 50_051, '0.0.0.0:50051'],
    ['localhost:0', 40_123, 'localhost:40123'],
    ['127.0.0.1', 443, '127.0.0.1:443'],
    ['dns:orders', 443, 'dns:orders:443'],
    ['[::1]:0', 40_123, '[::1]:40123'],
    ['[::1]', 443, '[::1]:443'],
    ['::1', 443, '[::1]:443'],
    ['ipv4:127.0.0.1:0', 40_123, 'ipv4:127.0.0.1:40123'],
    ['ipv4:127.0.0.1:42311,127.0.0.1:42312', 42_311, 'ipv4:127.0.0.1:42311,127.0.0.1:42312'],
    ['ipv4:10.0.0.1,10.0.0.2', 443, 'ipv4:10.0.0.1,10.0.0.2'],
    ['unix:/run/orders.sock', 1, 'unix:/run/orders.sock'],
    ['unix:///run/orders:1', 1, 'unix:///run/orders:1'],
  ])('returns the address of a server for the url %s and the bound port %i', (url, port, expected) => {
    expect(listenAddress(url, port)).toBe(expected);
  });
});
