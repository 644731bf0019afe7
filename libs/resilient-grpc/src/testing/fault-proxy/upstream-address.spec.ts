import { describe, expect, it } from 'vitest';
import { parseUpstream } from './upstream-address.js';

describe('parseUpstream', () => {
  it.each([
    ['127.0.0.1:50051', { host: '127.0.0.1', port: 50051 }],
    ['localhost:1', { host: 'localhost', port: 1 }],
    ['[::1]:80', { host: '::1', port: 80 }],
  ])('parses the upstream address %s', (address, expected) => {
    expect(parseUpstream('FaultProxy', address)).toEqual(expected);
  });

  it.each([
    ['localhost', '"localhost"'],
    [':50051', '":50051"'],
    ['host:', '"host:"'],
    ['host:x', '"host:x"'],
    ['', '""'],
    ['http://127.0.0.1:5', '"http://127.0.0.1:5"'],
    ['::1:80', '"::1:80"'],
    ['127.0.0.1:5/', '"127.0.0.1:5/"'],
    ['50051', '"50051"'],
    [50_051, '50051'],
    [undefined, 'nothing'],
  ])('rejects the upstream address %j, which is not in the form host:port', (address, shown) => {
    expect(() => parseUpstream('FaultProxy', address)).toThrow(
      `FaultProxy: expected an upstream in the form 'host:port', got ${shown}`,
    );
  });

  it.each(['host:0', 'host:65536'])('rejects the port of the upstream address %j', (address) => {
    expect(() => parseUpstream('FaultProxy', address)).toThrow(
      `FaultProxy: expected an upstream with a port from 1 to 65535, got "${address}"`,
    );
  });
});
