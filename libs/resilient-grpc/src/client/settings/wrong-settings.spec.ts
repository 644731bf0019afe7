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

/** Invalid settings, the path of the problem, and the remedy in its message. */
const WRONG: readonly [what: string, settings: unknown, path: string, remedy: RegExp][] = [
  [
    'undefined (a factory without a return statement)',
    undefined,
    'clients.shop',
    /an object of settings such as \{ url: 'orders:50051' \}, got nothing/,
  ],
  ['a string', 'shop:50051', 'clients.shop', /an object of settings such as \{ url/],
  ['a missing url', {}, 'clients.shop.url', /expected a target such as 'orders:50051', got nothing/],
  ['two transposed letters', { ulr: url, url }, 'clients.shop.ulr', /did you mean 'url'\?/],
  [
    'an infinite outageGraceMs',
    { url, outageGraceMs: Infinity },
    'clients.shop.outageGraceMs',
    /expected a number of milliseconds, 0 or more, at most 2147483647 \(24 days\), got Infinity$/,
  ],
  [
    'an outageGraceMs beyond the range of dates',
    { url, outageGraceMs: 1e16 },
    'clients.shop.outageGraceMs',
    /at most 2147483647 .*got 10000000000000000/,
  ],
  [
    'an infinite connectTimeoutMs',
    { url, connections: { connectTimeoutMs: Infinity } },
    'clients.shop.connections.connectTimeoutMs',
    /milliseconds, 1 or more, at most 2147483647 \(24 days\), got Infinity/,
  ],
  [
    'an infinite maximum age of connections instead of undefined',
    { url, connections: { maxAgeMs: Infinity } },
    'clients.shop.connections.maxAgeMs',
    /1000 or more, or undefined for no limit, got Infinity/,
  ],
  ['an empty url', { url: '' }, 'clients.shop.url', /such as 'orders:50051', got an empty string/],
  ['a url that is a number', { url: 50051 }, 'clients.shop.url', /as 'orders:50051', got 50051/],
  [
    'an http url',
    { url: 'http://shop:50051/' },
    'clients.shop.url',
    /whose scheme gRPC does not support; write 'shop:50051'$/,
  ],
  [
    'an https url',
    { url: 'https://shop:50051' },
    'clients.shop.url',
    /whose scheme gRPC does not support; write 'shop:50051' and `tls: \{\}`$/,
  ],
  ['a url with a space', { url: 'shop: 50051' }, 'clients.shop.url', /without whitespace/],
  [
    'a port that is not a number',
    { url: 'shop:http' },
    'clients.shop.url',
    /a port from 1 to 65535, got 'http' in 'shop:http'$/,
  ],
  ['a port above 65535', { url: 'dns:///shop:65536' }, 'clients.shop.url', /a port from 1 to 65535, got '65536'/],

  [
    'a name server without an IP address',
    { url: 'dns://bad:port:x/y' },
    'clients.shop.url',
    /the IP address of a name server with an optional port, got 'bad:port:x' in 'dns:\/\/bad:port:x\/y'$/,
  ],
  [
    'credentials in a url',
    { url: 'me:hush@shop:50051' },
    'clients.shop.url',
    /got '\*\*\*@shop:50051'; send them as `metadata`/,
  ],
  [
    'credentials in an http url',
    { url: 'http://me:hu/sh@shop:50051' },
    'clients.shop.url',
    /got 'http:\/\/\*\*\*@shop:50051', whose scheme gRPC does not support; write 'shop:50051'$/,
  ],
  ['a target that is too long', { url: 'x'.repeat(70_000) }, 'clients.shop.url', /at most 65536 characters, got 70000/],
  ...(
    [
      ['grpc.default_authority', 5, /printable ASCII of at most 4096 characters, got 5/],
      ['grpc.primary_user_agent', 'a\nb', /printable ASCII/],
      ['grpc.initial_reconnect_backoff_ms', -1, /milliseconds, 1 or more, got -1/],
      ['grpc.max_reconnect_backoff_ms', Infinity, /at most 2147483647 .*got Infinity/],
      ['grpc.keepalive_time_ms', 2 ** 31, /at most 2147483647/],
      ['grpc.keepalive_permit_without_calls', true, /0 or 1, got true/],
      ['grpc.max_receive_message_length', '4', /expected a whole number of bytes, or -1 for no limit, got "4"$/],
      ['grpc.default_compression_algorithm', 'gzip', /0 \(none\), 1 \(deflate\), or 2 \(gzip\)/],
      ['grpc-node.flow_control_window', -1, /an integer from 65535 to 2147483647, got -1/],
      ['grpc-node.max_session_memory', 0, /an integer of 1 or more/],
    ] as const
  ).map(([key, value, remedy]): (typeof WRONG)[number] => [
    `${key}: ${String(value)}`,
    { url, channelOptions: { [key]: value } },
    `clients.shop.channelOptions["${key}"]`,
    remedy,
  ]),
  [
    'an array of numbers as metadata',
    { url, metadata: [-1] },
    'clients.shop.metadata["0"]',
    /expected a string or an array of strings, got number/,
  ],

  [
    "Nest's nested form",
    { transport: 4, options: { url } },
    'clients.shop.options',
    /expected its keys outside of `options`, got an object with url$/,
  ],
  ['a misspelled timeoutMs', { url, timeoutMS: 5 }, 'clients.shop.timeoutMS', /did you mean 'timeoutMs'\?/],
  [
    'a misspelled maxWaitingCalls',
    { url, maxWatingCalls: 5 },
    'clients.shop.maxWatingCalls',
    /did you mean 'maxWaitingCalls'\?/,
  ],
  ['a misspelled package', { url, packge: 'x' }, 'clients.shop.packge', /did you mean 'package'\?/],
  ['a misspelled protoPath', { url, protoPaht: 'x' }, 'clients.shop.protoPaht', /did you mean 'protoPath'\?/],
  [
    'protoPath in the result of a factory',
    { url, protoPath: 'x' },
    'clients.shop.protoPath',
    /expected this option next to the factory, got "x"$/,
  ],

  [
    'a fractional number of seconds',
    { url, timeoutMs: '1.001s' },
    'clients.shop.timeoutMs',
    /expected a number of milliseconds above 0, or Infinity for no limit, got "1\.001s"$/,
  ],
  [
    'a timeout with a unit',
    { url, timeoutMs: '5s' },
    'clients.shop.timeoutMs',
    /expected a number of milliseconds above 0, or Infinity for no limit, got "5s"$/,
  ],
  [
    'a timeout as a numeric string',
    { url, timeoutMs: '250' },
    'clients.shop.timeoutMs',
    /expected a number of milliseconds above 0, or Infinity for no limit, got "250"$/,
  ],
  [
    'a negative timeout as a numeric string',
    { url, timeoutMs: '-5' },
    'clients.shop.timeoutMs',
    /expected a number of milliseconds above 0, or Infinity for no limit, got "-5"$/,
  ],
  [
    'a timeout of 0',
    { url, timeoutMs: 0 },
    'clients.shop.timeoutMs',
    /expected a number of milliseconds above 0, or Infinity for no limit, got 0$/,
  ],
  [
    'a timeout of NaN',
    { url, timeoutMs: NaN },
    'clients.shop.timeoutMs',
    /expected a number of milliseconds above 0, or Infinity for no limit, got NaN$/,
  ],
  [
    'a timeout of null',
    { url, timeoutMs: null },
    'clients.shop.timeoutMs',
    /expected a number of milliseconds above 0, or Infinity for no limit, got null$/,
  ],
  [
    'a negative outageGraceMs',
    { url, outageGraceMs: -1 },
    'clients.shop.outageGraceMs',
    /milliseconds, 0 or more, got -1/,
  ],
  [
    'a fractional maxWaitingCalls',
    { url, maxWaitingCalls: 1.5 },
    'clients.shop.maxWaitingCalls',
    /an integer of 0 or more, got 1.5/,
  ],
  [
    'an unknown load balancing policy as a string',
    { url, loadBalancing: 'random' },
    'clients.shop.loadBalancing',
    /'pick_first', 'round_robin', 'least_request', or a loadBalancingConfig.*got "random"/,
  ],
  [
    'an empty loadBalancingConfig',
    { url, loadBalancing: [] },
    'clients.shop.loadBalancing',
    /expected a policy that grpc-js supports, got an array of length 0; write \[\{ "round_robin": \{\} \}\]$/,
  ],
  [
    'an unknown policy in a loadBalancingConfig',
    { url, loadBalancing: [{ my_policy: {} }] },
    'clients.shop.loadBalancing',
    /expected a policy that grpc-js supports, got my_policy; write \[\{ "round_robin": \{\} \}\]$/,
  ],
  [
    'an invalid choiceCount of least_request_experimental',
    { url, loadBalancing: [{ least_request_experimental: { choiceCount: 1 } }] },
    'clients.shop.loadBalancing',
    /choiceCount: expected an integer of 2 or more, got 1\)/,
  ],
  [
    'loadBalancing together with a loadBalancingConfig',
    { url, loadBalancing: 'round_robin', serviceConfig: { loadBalancingConfig: [{ pick_first: {} }] } },
    'clients.shop.loadBalancing',
    /got both; keep one/,
  ],
  [
    'a dnsRefreshMs below 1 s',
    { url, dnsRefreshMs: 10 },
    'clients.shop.dnsRefreshMs',
    /milliseconds, 1000 or more, got 10/,
  ],
  [
    'a dnsRefreshMs of true',
    { url, dnsRefreshMs: true },
    'clients.shop.dnsRefreshMs',
    /milliseconds, 1000 or more, or false for lookups only on demand, got true/,
  ],
  [
    'a dnsRefreshMs of Infinity',
    { url, dnsRefreshMs: Infinity },
    'clients.shop.dnsRefreshMs',
    /expected a number of milliseconds, 1000 or more, at most 2147483647 \(24 days\), got Infinity$/,
  ],
  [
    'an idle timeout that grpc-js would raise',
    { url, connections: { idleMs: 10 } },
    'clients.shop.connections.idleMs',
    /milliseconds, 1000 or more, got 10/,
  ],
  [
    'credentials that grpc-js did not create',
    { url, credentials: { key: 'hush' } },
    'clients.shop.credentials',
    /credentials\.createSsl\(\).*npm ls @grpc\/grpc-js/,
  ],
  [
    'tls together with credentials',
    { url, tls: {}, credentials: credentials.createInsecure() },
    'clients.shop.tls',
    /got both; keep one/,
  ],
  ['tls: true', { url, tls: true }, 'clients.shop.tls', /or \{\} for Node's default certificate authorities, got true/],
  [
    'a missing TLS file',
    { url, tls: { ca: '/nowhere/ca.pem' } },
    'clients.shop.tls.ca',
    /ENOENT.*write a path that this process can read/,
  ],
  [
    "curl's name for tls.ca",
    { url, tls: { cacert: 'x' } },
    'clients.shop.tls.cacert',
    /unknown option; did you mean 'cert'\?$/,
  ],
  [
    'a keepalive time with a unit',
    { url, keepalive: { keepaliveTimeMs: '30s' } },
    'clients.shop.keepalive.keepaliveTimeMs',
    /expected a number of milliseconds, 0 or more, got "30s"$/,
  ],
  [
    'a maxReceiveMessageLength of -2',
    { url, maxReceiveMessageLength: -2 },
    'clients.shop.maxReceiveMessageLength',
    /-1 for no limit, got -2/,
  ],
  [
    'a number as a metadata value',
    { url, metadata: { tenant: 7 } },
    'clients.shop.metadata.tenant',
    /expected a string or an array of strings, got number/,
  ],
  [
    'an invalid metadata key',
    { url, metadata: { 'x tenant': 'a' } },
    'clients.shop.metadata["x tenant"]',
    /letters, digits/,
  ],
  [
    'a metadata key that gRPC reserves',
    { url, metadata: { 'grpc-timeout': '1S' } },
    'clients.shop.metadata.grpc-timeout',
    /which gRPC reserves/,
  ],
  [
    'a string as binary metadata',
    { url, metadata: { 'trace-bin': 'a' } },
    'clients.shop.metadata.trace-bin',
    /expected a Buffer/,
  ],
  ['a number as metadata', { url, metadata: 7 }, 'clients.shop.metadata', /an object such as \{ 'x-tenant'/],

  [
    "grpc-js's option for the service config",
    { url, channelOptions: { 'grpc.service_config': '{}' } },
    'clients.shop.channelOptions["grpc.service_config"]',
    /write the service config as `serviceConfig`/,
  ],
  [
    "grpc-js's option for retries",
    { url, channelOptions: { 'grpc.enable_retries': 0 } },
    'clients.shop.channelOptions["grpc.enable_retries"]',
    /idempotent: false/,
  ],
  [
    "grpc-js's shared subchannel pool",
    { url, channelOptions: { 'grpc.use_local_subchannel_pool': 0 } },
    'clients.shop.channelOptions["grpc.use_local_subchannel_pool"]',
    /remove this option/,
  ],
  [
    'a grpc-js interceptor that is not a function',
    { url, channelOptions: { interceptors: [{}] } },
    'clients.shop.channelOptions.interceptors',
    /grpc-js interceptor functions.*write/,
  ],

  [
    'a pattern that matches no method',
    { url, methods: { Gett: {} } },
    'clients.shop.methods.Gett',
    /matches none; did you mean 'Get'\?/,
  ],
  [
    'a method of an unknown service',
    { url, methods: { 'Audit/Get': {} } },
    'clients.shop.methods["Audit/Get"]',
    /matches none/,
  ],
  [
    'the camelCase name of a method, as in ts-proto',
    { url, methods: { get: {} } },
    'clients.shop.methods.get',
    /did you mean 'Get'\?/,
  ],
  [
    'a misspelled method option',
    { url, methods: { Get: { idempotend: true } } },
    'clients.shop.methods.Get.idempotend',
    /did you mean 'idempotent'\?/,
  ],
  [
    'a string as a boolean',
    { url, methods: { Get: { idempotent: 'true' } } },
    'clients.shop.methods.Get.idempotent',
    /expected true or false, got "true"$/,
  ],
  [
    'a boolean as method options',
    { url, methods: { Get: true } },
    'clients.shop.methods.Get',
    /such as \{ idempotent: true \}, got true/,
  ],

  ['a service config that is not JSON', { url, serviceConfig: '{' }, 'clients.shop.serviceConfig', /JSON/],
  [
    'a retryPolicy with one attempt',
    { url, serviceConfig: { methodConfig: [{ name, retryPolicy: { ...retryPolicy, maxAttempts: 1 } }] } },
    'clients.shop.serviceConfig.methodConfig[0].retryPolicy.maxAttempts',
    /an integer of 2 or more.*got 1/,
  ],
  [
    'a duration in milliseconds',
    { url, serviceConfig: { methodConfig: [{ name, timeout: '500ms' }] } },
    'clients.shop.serviceConfig.methodConfig[0].timeout',
    /got "500ms"/,
  ],
  [
    'an unknown status code',
    {
      url,
      serviceConfig: {
        methodConfig: [{ name, retryPolicy: { ...retryPolicy, retryableStatusCodes: ['UNAVAILABEL'] } }],
      },
    },
    'clients.shop.serviceConfig.methodConfig[0].retryPolicy.retryableStatusCodes[0]',
    /UNAVAILABEL/,
  ],
];

describe('invalid settings', () => {
  it.each(WRONG)('reports the path and the remedy for invalid client settings: %s', (_, settings, path, remedy) => {
    const found = problems(settings);
    const at = found.filter((problem) => problem.startsWith(`${path}: `));
    expect(at, found.join('\n')).toHaveLength(1);
    expect(at[0]).toMatch(remedy);
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
      { path: 'forRoot.defaults.timeoutMs', message: expect.stringContaining('got "5s"') },
      { path: 'forRoot.defaults.url', message: 'expected this option in forFeature(), got "x"' },
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
          [
            'timeoutMs',
            'outageGraceMs',
            'maxWaitingCalls',
            'connections',
            'loadBalancing',
            'credentials',
            'tls',
            'keepalive',
            'maxSendMessageLength',
            'maxReceiveMessageLength',
            'channelOptions',
            'metadata',
            'methods',
            'serviceConfig',
          ].map((key) => [key, undefined]),
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
