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

/** What is written, where the problem is, and what to write instead. */
const WRONG: readonly [what: string, settings: unknown, path: string, remedy: RegExp][] = [
  [
    'nothing (a factory without return)',
    undefined,
    'clients.shop',
    /an object of settings, as \{ url: 'orders:50051' \}, got nothing/,
  ],
  ['a text', 'shop:50051', 'clients.shop', /an object of settings, as \{ url/],
  ['no url', {}, 'clients.shop.url', /expected a target, as 'orders:50051', got nothing/],
  ['two letters that changed places', { ulr: url, url }, 'clients.shop.ulr', /did you mean 'url'\?/],
  [
    'a grace without end',
    { url, outageGraceMs: Infinity },
    'clients.shop.outageGraceMs',
    /of 0 or more, at most 2147483647 \(24 days\), or `waitForReady: true` of `methods` for no limit, got Infinity/,
  ],
  [
    'a grace beyond all dates',
    { url, outageGraceMs: 1e16 },
    'clients.shop.outageGraceMs',
    /at most 2147483647 .*got 10000000000000000/,
  ],
  [
    'no limit where there is one by default',
    { url, connectTimeoutMs: Infinity },
    'clients.shop.connectTimeoutMs',
    /of 1 or more, at most 2147483647 \(24 days\), got Infinity/,
  ],
  [
    'no limit in other words',
    { url, timeoutMs: Infinity },
    'clients.shop.timeoutMs',
    /above 0, or nothing for no limit, got Infinity/,
  ],
  ['an empty url', { url: '' }, 'clients.shop.url', /write 'host:port'/],
  ['a url that is a number', { url: 50051 }, 'clients.shop.url', /as 'orders:50051', got 50051/],
  ['an http url', { url: 'http://shop:50051/' }, 'clients.shop.url', /write 'shop:50051': gRPC has no such scheme/],
  ['an https url', { url: 'https://shop:50051' }, 'clients.shop.url', /write 'shop:50051', and `tls: \{\}` beside it/],
  ['a url with blanks', { url: 'shop: 50051' }, 'clients.shop.url', /without blanks/],
  [
    'a port that is none',
    { url: 'shop:http' },
    'clients.shop.url',
    /a port from 1 to 65535, got 'http'.*write 'host:port'/,
  ],
  ['a port beyond all', { url: 'dns:///shop:65536' }, 'clients.shop.url', /a port from 1 to 65535, got '65536'/],

  [
    'a name server that has no address',
    { url: 'dns://bad:port:x/y' },
    'clients.shop.url',
    /the IP address of a name server, .* got 'bad:port:x'.*write 'dns:\/\/127\.0\.0\.1:53\/orders:50051'/,
  ],
  [
    'a user and a password',
    { url: 'me:hush@shop:50051' },
    'clients.shop.url',
    /got '\*\*\*@shop:50051'; send them as `metadata`/,
  ],
  [
    'a password in an http url',
    { url: 'http://me:hu/sh@shop:50051' },
    'clients.shop.url',
    /got 'http:\/\/\*\*\*@shop:50051'; write 'shop:50051'/,
  ],
  ['a target without end', { url: 'x'.repeat(70_000) }, 'clients.shop.url', /at most 65536 characters, got 70000/],
  ...(
    [
      ['grpc.default_authority', 5, /printable ASCII of at most 4096 characters, got 5/],
      ['grpc.primary_user_agent', 'a\nb', /printable ASCII/],
      ['grpc.initial_reconnect_backoff_ms', -1, /milliseconds of 1 or more, got -1/],
      ['grpc.max_reconnect_backoff_ms', Infinity, /at most 2147483647 .*got Infinity/],
      ['grpc.keepalive_time_ms', 2 ** 31, /at most 2147483647/],
      ['grpc.keepalive_permit_without_calls', true, /0 or 1, got true/],
      ['grpc.max_receive_message_length', '4', /bytes, or -1 for no limit, got "4"; write 4/],
      ['grpc.default_compression_algorithm', 'gzip', /0 \(none\), 1 \(deflate\) or 2 \(gzip\)/],
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
    'metadata that are no texts',
    { url, metadata: [-1] },
    'clients.shop.metadata["0"]',
    /expected text or an array of texts, got number/,
  ],

  [
    "Nest's nested form",
    { transport: 4, options: { url } },
    'clients.shop.options',
    /Nest's nested form; write its keys beside `name`/,
  ],
  ["Nest's transport", { url, transport: 4 }, 'clients.shop.transport', /leave it out/],
  [
    "a key of Nest's that grpc-js never had",
    { url, maxMetadataSize: 1 },
    'clients.shop.maxMetadataSize',
    /grpc-js has no such setting.*leave it out/,
  ],
  ['a slip of the pen', { url, timeoutMS: 5 }, 'clients.shop.timeoutMS', /did you mean 'timeoutMs'\?/],
  [
    'another slip of the pen',
    { url, maxWatingCalls: 5 },
    'clients.shop.maxWatingCalls',
    /did you mean 'maxWaitingCalls'\?/,
  ],
  ['something of another world', { url, colour: 'red' }, 'clients.shop.colour', /unknown key; known are timeoutMs, /],
  ['a deadline', { url, deadline: 500 }, 'clients.shop.deadline', /write `timeoutMs`/],
  ['retries', { url, retries: 3 }, 'clients.shop.retries', /idempotent: true.*retryPolicy in `serviceConfig`/],
  ['host and port', { url, host: 'shop' }, 'clients.shop.host', /write `url`: 'host:port'/],
  [
    'the contract in what a factory gives',
    { url, protoPath: 'x' },
    'clients.shop.protoPath',
    /contract stands beside `name`/,
  ],

  ['a timeout as text', { url, timeoutMs: '5s' }, 'clients.shop.timeoutMs', /above 0, got "5s"; write 5000/],
  ['a timeout from the environment', { url, timeoutMs: '250' }, 'clients.shop.timeoutMs', /got "250"; write 250/],
  ['no time at all', { url, timeoutMs: 0 }, 'clients.shop.timeoutMs', /above 0, got 0/],
  [
    'a timeout that is no number',
    { url, timeoutMs: NaN },
    'clients.shop.timeoutMs',
    /number of milliseconds above 0, got NaN/,
  ],
  [
    'a timeout without end',
    { url, timeoutMs: Infinity },
    'clients.shop.timeoutMs',
    /or nothing for no limit, got Infinity/,
  ],
  ['null', { url, timeoutMs: null }, 'clients.shop.timeoutMs', /got null; leave it out or give undefined/],
  ['a negative grace', { url, outageGraceMs: -1 }, 'clients.shop.outageGraceMs', /of 0 or more, got -1/],
  ['half a byte', { url, maxWaitingBytes: 1.5 }, 'clients.shop.maxWaitingBytes', /an integer of 0 or more, got 1.5/],
  ['half a call', { url, maxWaitingCalls: 1.5 }, 'clients.shop.maxWaitingCalls', /an integer of 0 or more, got 1.5/],
  [
    'a limit of one attempt',
    { url, maxAttemptsLimit: 1 },
    'clients.shop.maxAttemptsLimit',
    /an integer of 2 or more, got 1/,
  ],
  [
    'a connection of another kind',
    { url, connection: 'lazy' },
    'clients.shop.connection',
    /'on-demand' or 'warm', got "lazy"/,
  ],
  [
    'a policy without its name',
    { url, loadBalancing: 'random' },
    'clients.shop.loadBalancing',
    /'pick_first', 'round_robin' or a loadBalancingConfig.*got "random"/,
  ],
  [
    'a policy nobody knows',
    { url, loadBalancing: [{ my_policy: {} }] },
    'clients.shop.loadBalancing',
    /my_policy.*write \[\{ round_robin: \{\} \}\]/,
  ],
  [
    'two ways to balance',
    { url, loadBalancing: 'round_robin', serviceConfig: { loadBalancingConfig: [{ pick_first: {} }] } },
    'clients.shop.loadBalancing',
    /got both; keep one/,
  ],
  [
    'an idle time grpc-js would raise',
    { url, connectionIdleTimeoutMs: 10 },
    'clients.shop.connectionIdleTimeoutMs',
    /of 1000 or more, got 10/,
  ],
  [
    'credentials of something else',
    { url, credentials: { key: 'hush' } },
    'clients.shop.credentials',
    /credentials\.createSsl\(\).*npm ls @grpc\/grpc-js/,
  ],
  [
    'tls and credentials',
    { url, tls: {}, credentials: credentials.createInsecure() },
    'clients.shop.tls',
    /got both; keep one/,
  ],
  ['tls: true', { url, tls: true }, 'clients.shop.tls', /or \{\} for the authorities of the system, got true/],
  [
    'a key file that is not there',
    { url, tls: { ca: '/nowhere/ca.pem' } },
    'clients.shop.tls.ca',
    /ENOENT.*write the path/,
  ],
  ['an unknown key in tls', { url, tls: { certificate: 'x' } }, 'clients.shop.tls.certificate', /unknown key/],
  [
    'a keepalive key that grpc-js ignored',
    { url, keepalive: { http2MaxPingStrikes: 1 } },
    'clients.shop.keepalive.http2MaxPingStrikes',
    /unknown key; known are keepaliveTimeMs/,
  ],
  [
    'a keepalive as text',
    { url, keepalive: { keepaliveTimeMs: '30s' } },
    'clients.shop.keepalive.keepaliveTimeMs',
    /write 30000/,
  ],
  [
    'a message of minus two bytes',
    { url, maxReceiveMessageLength: -2 },
    'clients.shop.maxReceiveMessageLength',
    /-1 for no limit, got -2/,
  ],
  [
    'metadata with a number',
    { url, metadata: { tenant: 7 } },
    'clients.shop.metadata.tenant',
    /expected text or an array of texts, got number/,
  ],
  [
    'metadata with a bad key',
    { url, metadata: { 'x tenant': 'a' } },
    'clients.shop.metadata["x tenant"]',
    /letters, digits/,
  ],
  [
    "metadata with gRPC's own key",
    { url, metadata: { 'grpc-timeout': '1S' } },
    'clients.shop.metadata.grpc-timeout',
    /gRPC's own/,
  ],
  [
    'binary metadata as text',
    { url, metadata: { 'trace-bin': 'a' } },
    'clients.shop.metadata.trace-bin',
    /expected a Buffer/,
  ],
  ['metadata that is a number', { url, metadata: 7 }, 'clients.shop.metadata', /an object of texts/],

  [
    "grpc-js's service config",
    { url, channelOptions: { 'grpc.service_config': '{}' } },
    'clients.shop.channelOptions["grpc.service_config"]',
    /write it as `serviceConfig`/,
  ],
  [
    "grpc-js's retries",
    { url, channelOptions: { 'grpc.enable_retries': 0 } },
    'clients.shop.channelOptions["grpc.enable_retries"]',
    /idempotent: false/,
  ],
  [
    'the shared pool',
    { url, channelOptions: { 'grpc.use_local_subchannel_pool': 0 } },
    'clients.shop.channelOptions["grpc.use_local_subchannel_pool"]',
    /leave it out/,
  ],
  [
    'an interceptor that is no function',
    { url, channelOptions: { interceptors: [{}] } },
    'clients.shop.channelOptions.interceptors',
    /which are functions.*write/,
  ],

  [
    'a pattern that matches no method',
    { url, methods: { Gett: {} } },
    'clients.shop.methods.Gett',
    /matches none; did you mean 'Get'\?/,
  ],
  [
    'a method of another service',
    { url, methods: { 'Audit/Get': {} } },
    'clients.shop.methods["Audit/Get"]',
    /matches none/,
  ],
  ['the name of ts-proto', { url, methods: { get: {} } }, 'clients.shop.methods.get', /did you mean 'Get'\?/],
  [
    'a slip in a method',
    { url, methods: { Get: { idempotend: true } } },
    'clients.shop.methods.Get.idempotend',
    /did you mean 'idempotent'\?/,
  ],
  [
    'a flag as text',
    { url, methods: { Get: { idempotent: 'true' } } },
    'clients.shop.methods.Get.idempotent',
    /write true without quotes/,
  ],
  [
    'a method that is true',
    { url, methods: { Get: true } },
    'clients.shop.methods.Get',
    /as \{ idempotent: true \}, got true/,
  ],
  [
    'idempotent for all in the wrong place',
    { url, idempotent: true },
    'clients.shop.idempotent',
    /methods: \{ Get: \{ idempotent: true \} \}/,
  ],

  ['a service config that is no JSON', { url, serviceConfig: '{' }, 'clients.shop.serviceConfig', /JSON/],
  [
    'one attempt',
    { url, serviceConfig: { methodConfig: [{ name, retryPolicy: { ...retryPolicy, maxAttempts: 1 } }] } },
    'clients.shop.serviceConfig.methodConfig[0].retryPolicy.maxAttempts',
    /an integer of 2 or more.*got 1/,
  ],
  [
    'a duration in words',
    { url, serviceConfig: { methodConfig: [{ name, timeout: '500ms' }] } },
    'clients.shop.serviceConfig.methodConfig[0].timeout',
    /got "500ms"/,
  ],
  [
    'a code that is none',
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

describe('wrong settings', () => {
  it.each(WRONG)('are refused with path and remedy: %s', (_, settings, path, remedy) => {
    const found = problems(settings);
    const at = found.filter((problem) => problem.startsWith(`${path}: `));
    expect(at, found.join('\n')).toHaveLength(1);
    expect(at[0]).toMatch(remedy);
  });

  it('are told all at once', () => {
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

  it('never show what may be a secret, and cut what is long', () => {
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

  it('of forRoot are refused in the same words', () => {
    expect(
      defaultsProblems({ timeoutMs: '5s', url: 'x', channelOptions: { 'grpc.enable_retries': 1 } }, 'forRoot.defaults'),
    ).toEqual([
      { path: 'forRoot.defaults.url', message: expect.stringContaining('unknown key') },
      { path: 'forRoot.defaults.timeoutMs', message: expect.stringContaining('write 5000') },
      {
        path: 'forRoot.defaults.channelOptions["grpc.enable_retries"]',
        message: expect.stringContaining('cannot be set'),
      },
    ]);
  });
});

describe('right settings', () => {
  it.each([
    [
      'undefined in every optional key',
      {
        url,
        ...Object.fromEntries(
          [
            'timeoutMs',
            'outageGraceMs',
            'maxWaitingCalls',
            'maxWaitingBytes',
            'maxAttemptsLimit',
            'connection',
            'loadBalancing',
            'connectTimeoutMs',
            'connectionIdleTimeoutMs',
            'maxConnectionAgeMs',
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
      'undefined inside',
      {
        url,
        keepalive: { keepaliveTimeMs: undefined },
        methods: { Get: { idempotent: undefined } },
        metadata: { a: undefined },
        channelOptions: { 'grpc.enable_retries': undefined },
      },
    ],
    ["grpc-js's Metadata", { url, metadata: new Metadata() }],
    ['a unix socket', { url: 'unix:/run/shop.sock' }],
    ['an IPv6 address', { url: '[::1]:50051' }],
    ['a name behind a resolver', { url: 'dns://8.8.8.8/shop:50051' }],
    ['several addresses', { url: 'ipv4:10.0.0.1:50051,10.0.0.2:50051' }],
    [
      'a service config as JSON text',
      { url, serviceConfig: JSON.stringify({ methodConfig: [{ name, retryPolicy }] }) },
    ],
    ['metadata of several values', { url, metadata: { a: ['b', 'c'], 'd-bin': Buffer.from('e') } }],
    ['numbers for a flag of Nest', { url, keepalive: { keepalivePermitWithoutCalls: 1 } }],
  ])('are taken: %s', (_, settings) => {
    expect(problems(settings)).toEqual([]);
  });
});
