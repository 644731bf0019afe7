import { expect, it } from 'vitest';
import { authorityHost, proxyCheck, proxyOf, targetCheck } from './target-check.js';

const failed = (target: string, details: string, code?: string) =>
  targetCheck(target, { ok: false, details, code, tookMs: 5 }, false);

it.each([
  [
    'kubernetes:///orders.shop:50051',
    'timed out',
    'ETIMEDOUT',
    {
      message: 'timed out (ETIMEDOUT)',
      remedy: 'check that the API server responds, then run the doctor again',
    },
  ],
  [
    'consul:///orders',
    'No resolver could be created for target consul:///orders',
    undefined,
    {
      message: "grpc-js has no built-in resolver for 'consul:'",
      remedy: expect.stringContaining('write dns:///host:port'),
    },
  ],
  [
    'dns:///orders.invalid:50051',
    'Name resolution failed',
    'ENOTFOUND',
    {
      message: expect.stringContaining(
        'the name orders.invalid cannot be resolved: the name does not exist (ENOTFOUND)',
      ),
    },
  ],
])(
  'reports why the target %s has no addresses, in the terms of its resolver: %s',
  (target, details, code, expected) => {
    expect(failed(target, details, code)).toMatchObject({ status: 'failed', ...expected });
  },
);

it.each([
  ['ENOTFOUND', 'the name does not exist (ENOTFOUND)'],
  ['ETIMEDOUT', 'the name server does not respond (ETIMEDOUT)'],
  [undefined, 'Name resolution failed'],
])('names the proxy and its variable if the name of the proxy does not resolve: %s', (code, cause) => {
  const resolution = { ok: false, details: 'Name resolution failed', code, tookMs: 5 } as const;
  const proxy = { proxy: 'proxy.shop:3128', variable: 'grpc_proxy' };
  expect(targetCheck('orders.example:50051', resolution, false, proxy)).toMatchObject({
    status: 'failed',
    message: `the proxy proxy.shop:3128, set by grpc_proxy, cannot be resolved: ${cause}`,
    remedy:
      'correct grpc_proxy; to bypass the proxy, add the host of the target to no_proxy, or, for a list of addresses, set grpc.enable_http_proxy: 0 in channelOptions',
  });
});

it.each([
  ['tried', undefined],
  ['shown', { proxy: 'proxy.shop:3128', variable: 'grpc_proxy' }],
])('states that the first 20 of 21 addresses are %s', (verb, proxy) => {
  const addresses = Array.from({ length: 21 }, (_, index) => ({ host: `10.0.0.${String(index)}`, port: 50_051 }));
  const { message } = targetCheck('dns:///orders:50051', { ok: true, addresses, tookMs: 5 }, false, proxy);
  expect(message).toMatch(new RegExp(`^21 addresses in 5 ms, first 20 ${verb}: 10\\.0\\.0\\.0:50051`));
});

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

it.each([
  ['dns:///orders.shop:443', 'orders.shop'],
  ['dns:orders.shop', 'orders.shop'],
  ['dns://127.0.0.1:53/orders.shop:443', 'orders.shop'],
  ['dns:[::1]:443', '::1'],
  ['ipv4:10.0.0.7:50051,10.0.0.8:50051', '10.0.0.7'],
  ['ipv4:10.0.0.7', '10.0.0.7'],
  ['ipv6:[::1]:50051,[::2]:50051', '::1'],
  ['ipv6:::1', '::1'],
  ['kubernetes:///orders.shop:50051', 'orders.shop'],
  ['kubernetes:///orders.shop:grpc', 'orders.shop'],
  ['unix:/run/orders.sock', 'localhost'],
])('returns the host that the doctor expects in the certificate of %s: %s', (canonicalTarget, host) => {
  expect(authorityHost(canonicalTarget)).toBe(host);
});
