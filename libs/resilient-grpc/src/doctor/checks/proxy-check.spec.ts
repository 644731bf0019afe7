import { expect, it } from 'vitest';
import { proxyOf } from './proxy-check.js';

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
])('detects no proxy for the target %s that no_proxy excludes from the proxy', (target, canonicalTarget) => {
  expect(proxyOf(target, canonicalTarget, { https_proxy: 'http://proxy:3128' })).toBeUndefined();
});
