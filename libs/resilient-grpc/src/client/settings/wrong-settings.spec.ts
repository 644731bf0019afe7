import { join } from 'node:path';
import { Metadata, credentials } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { systemClock } from '../../time/clock.js';
import { loadContract } from './contract.js';
import { defaultsProblems, resolveSettings } from './resolve-settings.js';

const loaded = loadContract({ protoPath: join(import.meta.dirname, 'fixtures/shop.proto') }, 'clients.shop');
if (!loaded.ok) throw new Error('the fixture does not load');
const { services } = loaded;

function problems(settings: unknown): string[] {
  const resolution = resolveSettings(
    { name: 'shop', path: 'clients.shop', services, settings, defaults: undefined },
    { clock: systemClock, random: () => 0.5, report: () => undefined },
  );
  return resolution.ok ? [] : resolution.problems.map(({ path, message }) => `${path}: ${message}`);
}

const url = 'shop:50051';
const name = [{ service: 'shop.v1.Orders', method: 'Get' }];
const retryPolicy = {
  maxAttempts: 3,
  initialBackoff: '0.1s',
  maxBackoff: '1s',
  backoffMultiplier: 2,
  retryableStatusCodes: ['UNAVAILABLE'],
};

/** The path of the problem in invalid settings. */
const WRONG: readonly [path: string, settings: unknown][] = [
  ['clients.shop', undefined],
  ['clients.shop.url', {}],
  ['clients.shop.ulr', { ulr: url, url }],
  ['clients.shop.outageGraceMs', { url, outageGraceMs: Infinity }],
  ['clients.shop.connections.maxAgeMs', { url, connections: { maxAgeMs: Infinity } }],
  ['clients.shop.transport', { url, transport: 'tcp' }],
  ['clients.shop.url', { url: '' }],
  ['clients.shop.url', { url: 'http://shop:50051/' }],
  ['clients.shop.url', { url: 'shop: 50051' }],
  ['clients.shop.url', { url: 'shop:http' }],

  ['clients.shop.url', { url: 'dns://bad:port:x/y' }],
  ['clients.shop.url', { url: 'me:hush@shop:50051' }],
  ['clients.shop.url', { url: 'http://me:hu/sh@shop:50051' }],
  ['clients.shop.url', { url: 'x'.repeat(70_000) }],
  ...(
    [
      ['grpc.default_authority', 5],
      ['grpc.primary_user_agent', 'a\nb'],
      ['grpc.initial_reconnect_backoff_ms', -1],
      ['grpc.max_reconnect_backoff_ms', Infinity],
      ['grpc.keepalive_time_ms', 2 ** 31],
      ['grpc.keepalive_permit_without_calls', true],
      ['grpc.max_receive_message_length', '4'],
      ['grpc.default_compression_algorithm', 'gzip'],
      ['grpc-node.flow_control_window', -1],
      ['grpc-node.max_session_memory', 0],
    ] as const
  ).map(([key, value]): (typeof WRONG)[number] => [
    `clients.shop.channelOptions["${key}"]`,
    { url, channelOptions: { [key]: value } },
  ]),
  ['clients.shop.metadata["0"]', { url, metadata: [-1] }],

  ['clients.shop.options', { transport: 4, options: { url } }],
  ['clients.shop.protoPath', { url, protoPath: 'x' }],

  ['clients.shop.timeoutMs', { url, timeoutMs: '5s' }],
  ['clients.shop.timeoutMs', { url, timeoutMs: 0 }],
  ['clients.shop.timeoutMs', { url, timeoutMs: NaN }],
  ['clients.shop.timeoutMs', { url, timeoutMs: null }],
  ['clients.shop.outageGraceMs', { url, outageGraceMs: -1 }],
  ['clients.shop.maxWaitingCalls', { url, maxWaitingCalls: 1.5 }],
  ['clients.shop.loadBalancing', { url, loadBalancing: 'random' }],
  ['clients.shop.loadBalancing', { url, loadBalancing: [] }],
  ['clients.shop.loadBalancing', { url, loadBalancing: [{ my_policy: {} }] }],
  ['clients.shop.loadBalancing', { url, loadBalancing: [{ least_request_experimental: { choiceCount: 1 } }] }],
  [
    'clients.shop.loadBalancing',
    { url, loadBalancing: 'round_robin', serviceConfig: { loadBalancingConfig: [{ pick_first: {} }] } },
  ],
  ['clients.shop.dnsRefreshMs', { url, dnsRefreshMs: 10 }],
  ['clients.shop.connections.idleMs', { url, connections: { idleMs: 10 } }],
  ['clients.shop.credentials', { url, credentials: { key: 'hush' } }],
  ['clients.shop.tls', { url, tls: {}, credentials: credentials.createInsecure() }],
  ['clients.shop.tls.ca', { url, tls: { ca: '/nowhere/ca.pem' } }],
  ['clients.shop.keepalive.keepaliveTimeMs', { url, keepalive: { keepaliveTimeMs: '30s' } }],
  ['clients.shop.maxReceiveMessageLength', { url, maxReceiveMessageLength: -2 }],
  ['clients.shop.metadata.tenant', { url, metadata: { tenant: 7 } }],
  ['clients.shop.metadata["x tenant"]', { url, metadata: { 'x tenant': 'a' } }],
  ['clients.shop.metadata.grpc-timeout', { url, metadata: { 'grpc-timeout': '1S' } }],
  ['clients.shop.metadata.trace-bin', { url, metadata: { 'trace-bin': 'a' } }],

  ['clients.shop.channelOptions["grpc.service_config"]', { url, channelOptions: { 'grpc.service_config': '{}' } }],
  ['clients.shop.channelOptions["grpc.enable_retries"]', { url, channelOptions: { 'grpc.enable_retries': 0 } }],
  [
    'clients.shop.channelOptions["grpc.use_local_subchannel_pool"]',
    { url, channelOptions: { 'grpc.use_local_subchannel_pool': 0 } },
  ],
  ['clients.shop.channelOptions.interceptors', { url, channelOptions: { interceptors: [{}] } }],

  ['clients.shop.methods.Gett', { url, methods: { Gett: {} } }],
  ['clients.shop.methods["Audit/Get"]', { url, methods: { 'Audit/Get': {} } }],
  ['clients.shop.methods.Get.idempotend', { url, methods: { Get: { idempotend: true } } }],
  ['clients.shop.methods.Get.idempotent', { url, methods: { Get: { idempotent: 'true' } } }],

  [
    'clients.shop.serviceConfig.methodConfig[0].retryPolicy.maxAttempts',
    { url, serviceConfig: { methodConfig: [{ name, retryPolicy: { ...retryPolicy, maxAttempts: 1 } }] } },
  ],
];

describe('invalid settings', () => {
  it.each(WRONG)('reports one problem at %s for %o', (path, settings) => {
    const found = problems(settings).filter((problem) => problem.startsWith(`${path}: `));
    expect(found).toEqual([
      expect.stringMatching(/: (?:expected .+|unknown option.*|cannot be set: .+|.+ which gRPC reserves.*)$/s),
    ]);
  });

  it.each([
    [{ url, timeoutMs: '5s' }, 'timeoutMs: expected number, got "5s"'],
    [
      { url, loadBalancing: 'random' },
      'loadBalancing: expected (("pick_first" | "round_robin" | "least_request") | Array), got "random"',
    ],
    [{ url, timeoutMS: 5 }, "timeoutMS: unknown option; did you mean 'timeoutMs'?"],
    [{}, 'url: expected a value, got nothing'],
  ])('states the path, the expected value, and the given one: %o', (settings, problem) => {
    expect(problems(settings)).toEqual([`clients.shop.${problem}`]);
  });

  it('reports all problems of invalid client settings together', () => {
    const found = problems({
      timeoutMS: 1,
      outageGraceMs: -1,
      methods: { Gett: { idempotent: 1 } },
      serviceConfig: { methodConfig: 4 },
      tls: { ca: '/nowhere' },
    });
    expect(found.map((problem) => problem.slice(0, problem.indexOf(': '))).sort()).toEqual([
      'clients.shop.methods.Gett',
      'clients.shop.methods.Gett.idempotent',
      'clients.shop.outageGraceMs',
      'clients.shop.serviceConfig.methodConfig',
      'clients.shop.timeoutMS',
      'clients.shop.tls.ca',
      'clients.shop.url',
    ]);
  });

  it('hides possible secrets and truncates long values in the problems of invalid client settings', () => {
    const text = problems({
      url: 'http://'.padEnd(500, 'x'),
      timeoutMs: 'y'.repeat(500),
      metadata: { authorization: 'Bearer hush\n', other: ['hush', 5] },
      tls: { key: 'hush'.repeat(50), cert: { hush: 1 } },
      credentials: 'hush',
    }).join('\n');
    expect(text).not.toContain('hush');
    expect(text).not.toContain('y'.repeat(100));
  });

  it('rejects invalid defaults of forRoot, including a url, which belongs to a client', () => {
    expect(
      defaultsProblems({ timeoutMs: '5s', url: 'x', channelOptions: { 'grpc.enable_retries': 1 } }, 'forRoot.defaults'),
    ).toEqual([
      { path: 'forRoot.defaults.url', message: 'unknown option' },
      { path: 'forRoot.defaults.timeoutMs', message: expect.stringContaining('got "5s"') },
      {
        path: 'forRoot.defaults.channelOptions["grpc.enable_retries"]',
        message: expect.stringContaining('cannot be set'),
      },
    ]);
  });
});

describe('valid settings', () => {
  it.each([
    [
      'undefined for optional keys',
      {
        url,
        ...Object.fromEntries(
          ['timeoutMs', 'connections', 'credentials', 'tls', 'keepalive', 'metadata', 'serviceConfig'].map((key) => [
            key,
            undefined,
          ]),
        ),
      },
    ],
    [
      'undefined for nested keys',
      {
        url,
        keepalive: { keepaliveTimeMs: undefined },
        methods: { Get: { idempotent: undefined } },
        metadata: { a: undefined },
        channelOptions: { 'grpc.enable_retries': undefined },
      },
    ],
    ["an instance of grpc-js's Metadata", { url, metadata: new Metadata() }],
    ['a Unix socket', { url: 'unix:/run/shop.sock' }],
    ['an IPv6 address', { url: '[::1]:50051' }],
    ['a url with a name server', { url: 'dns://8.8.8.8/shop:50051' }],
    ['several addresses', { url: 'ipv4:10.0.0.1:50051,10.0.0.2:50051' }],
    [
      'a service config as a JSON string',
      { url, serviceConfig: JSON.stringify({ methodConfig: [{ name, retryPolicy }] }) },
    ],
    ['metadata with several values', { url, metadata: { a: ['b', 'c'], 'd-bin': Buffer.from('e') } }],
    ['a number as a boolean, as Nest allows', { url, keepalive: { keepalivePermitWithoutCalls: 1 } }],
  ])('accepts client settings with %s', (_, settings) => {
    expect(problems(settings)).toEqual([]);
  });
});
