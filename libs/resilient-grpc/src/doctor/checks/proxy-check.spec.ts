import { expect, it } from 'vitest';
import { proxyCheck, proxyOf } from './proxy-check.js';

it.each([
  ['x@y:1', '***@y:1'],
  ['orders:50051', 'dns:orders:50051'],
])('detects no proxy for the target %s if the environment sets none', (target, canonicalTarget) => {
  expect(proxyOf(target, canonicalTarget, {})).toBeUndefined();
});

it('returns the proxy and the environment variable that sets it', () => {
  const env = { https_proxy: 'http://proxy:3128' };
  expect(proxyOf('orders:50051', 'dns:proxy:3128', env)).toEqual({ proxy: 'proxy:3128', variable: 'https_proxy' });
  expect(proxyOf('orders:50051', 'dns:orders:50051', env)).toBeUndefined();
});

it.each([
  ['x@y:1', '***@y:1'],
  ['***@y:1', 'dns:///***@y:1'],
])('detects no proxy for the target %s if no_proxy excludes it', (target, canonicalTarget) => {
  expect(proxyOf(target, canonicalTarget, { https_proxy: 'http://proxy:3128' })).toBeUndefined();
});

it('reports the proxy with remedies for a single host and for a list of addresses', () => {
  expect(proxyCheck({ proxy: 'proxy:3128', variable: 'https_proxy' })).toMatchObject({
    status: 'warning',
    message: 'connections go through the proxy proxy:3128, set by https_proxy',
    remedy:
      'if the server is on your own network, add the host of the target to no_proxy, or, for a list of addresses, set grpc.enable_http_proxy: 0 in channelOptions; otherwise check that the proxy allows CONNECT',
  });
});
