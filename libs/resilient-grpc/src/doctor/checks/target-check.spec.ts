import { expect, it } from 'vitest';
import { targetCheck } from './target-check.js';

const failed = (target: string, details: string, code?: string) =>
  targetCheck(target, { ok: false, details, code, tookMs: 5 }, false);

it.each([
  [
    'kubernetes:///orders.shop:50051',
    'cannot watch EndpointSlices at https://api: 403 forbidden; grant the permission',
    undefined,
    { message: 'cannot watch EndpointSlices at https://api: 403 forbidden', remedy: 'grant the permission' },
  ],
  [
    'kubernetes:///orders.shop:50051',
    'timed out',
    'ETIMEDOUT',
    {
      message: 'no endpoints: timed out (ETIMEDOUT)',
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
