import { describe, expect, it } from 'vitest';
import { isGrpcConfigurationError } from '../errors/grpc-configuration-error.js';
import { resolveServerOptions } from './resolve-server-options.js';

const right = { package: 'orders.v1', protoPath: 'orders.proto' };

function problems(options: unknown): string[] {
  try {
    resolveServerOptions(options, 'forRoot');
    return [];
  } catch (error) {
    if (!isGrpcConfigurationError(error)) throw error;
    return error.problems.map(({ path, message }) => `${path}: ${message}`);
  }
}

/** What is written beside a right contract, where the problem is, and what to write instead. */
const WRONG: readonly [what: string, options: Record<string, unknown>, path: string, remedy: RegExp][] = [
  ["Nest's nested form", { transport: 4, options: right }, 'transport', /always gRPC; leave it out/],
  ["Nest's nested options", { options: right }, 'options', /write its keys here: forRoot\(\{ url/],
  ['a strategy', { strategy: {} }, 'strategy', /connectMicroservice\(\{ strategy: app\.get\(ResilientGrpcServer\)/],
  ['a slip of the pen', { onDrian: 'fail' }, 'onDrian', /did you mean 'onDrain'\?/],
  ['another', { maxConectionAgeMs: 5_000 }, 'maxConectionAgeMs', /did you mean 'maxConnectionAgeMs'\?/],
  ['something of another world', { colour: 'red' }, 'colour', /unknown key; known are url, package, /],
  ['a port alone', { port: 50051 }, 'port', /write `url`: '0\.0\.0\.0:50051'/],
  ['the time of the shutdown at the top', { drainTimeoutMs: 5_000 }, 'drainTimeoutMs', /write drain: \{ timeoutMs \}/],
  ['tls as clients have it', { tls: { key: 'k' } }, 'tls', /ServerCredentials\.createSsl/],
  ['what belongs to clients', { serviceConfig: {} }, 'serviceConfig', /belongs to clients, in ResilientGrpcModule/],
  ['propagate', { propagate: {} }, 'propagate', /ResilientGrpcModule\.forRoot\(\{ propagate \}\)/],

  [
    'a proto-loader that is not installed',
    { protoLoader: 'no-such-loader' },
    'protoLoader',
    /got "no-such-loader" \(Cannot find module 'no-such-loader'\); install it, or leave it out/,
  ],
  ['a proto-loader of another kind', { protoLoader: 'node:path' }, 'protoLoader', /a package with loadSync\(\)/],
  [
    'a negative window',
    { channelOptions: { 'grpc-node.flow_control_window': -1 } },
    'channelOptions["grpc-node.flow_control_window"]',
    /an integer from 65535/,
  ],
  ['a url that is a number', { url: 50051 }, 'url', /an address, as '0\.0\.0\.0:50051', got 50051/],
  ['an http url', { url: 'http://0.0.0.0:50051' }, 'url', /write '0\.0\.0\.0:50051': gRPC has no such scheme/],
  ['a port beyond all', { url: '0.0.0.0:65536' }, 'url', /a port from 0 to 65535, got '65536'/],
  ['a package of another kind', { package: 7 }, 'package', /a package or an array of them, as 'orders\.v1', got 7/],
  ['an empty list of files', { protoPath: [] }, 'protoPath', /a \.proto file or an array of them.*an array of 0/],
  ['no contract', { protoPath: undefined }, 'protoPath', /write protoPath: 'orders\.proto', or packageDefinition/],
  ['two contracts', { packageDefinition: {} }, 'packageDefinition', /got both; keep one/],
  ['a loader in words', { loader: 'longs' }, 'loader', /options of proto-loader, as \{ longs: String \}/],
  ['a limit in words', { maxReceiveMessageLength: '4MB' }, 'maxReceiveMessageLength', /bytes, or -1 for no limit/],
  ['a limit below none', { maxSendMessageLength: -2 }, 'maxSendMessageLength', /or -1 for no limit, got -2/],
  ['credentials of a client', { credentials: { key: 'hush' } }, 'credentials', /createSsl.*npm ls.*got an object$/],
  ['a callback that is none', { onLoadPackageDefinition: 1 }, 'onLoadPackageDefinition', /a function, as \(definition/],
  ['a graceful shutdown in words', { gracefulShutdown: 'true' }, 'gracefulShutdown', /write true without quotes/],
  ['null', { keepalive: null }, 'keepalive', /got null; leave it out or give undefined/],
  ['pings in words', { keepalive: { keepaliveTimeMs: '30s' } }, 'keepalive.keepaliveTimeMs', /write 30000/],
  [
    'no time to answer a ping',
    { keepalive: { keepaliveTimeoutMs: 0 } },
    'keepalive.keepaliveTimeoutMs',
    /of 1 or more, got 0/,
  ],
  [
    'a slip in keepalive',
    { keepalive: { keepAliveTime: 1 } },
    'keepalive.keepAliveTime',
    /did you mean 'keepaliveTimeMs'/,
  ],

  ['an end of another kind', { onDrain: 'cancel' }, 'onDrain', /'finish', 'complete' or 'fail', got "cancel"/],
  ['an idle time of nothing', { streamIdleTimeoutMs: 0 }, 'streamIdleTimeoutMs', /above 0, got 0/],
  ['no queue at all', { maxQueuedResponseBytes: 0 }, 'maxQueuedResponseBytes', /an integer of 1 or more, got 0/],
  ['methods as a list', { methods: ['Get'] }, 'methods["0"]', /an object of method options.*got "Get"/],
  ['methods that are none', { methods: 'Get' }, 'methods', /an object by method, as \{ Watch/],
  ['a method that is no object', { methods: { Get: 'fail' } }, 'methods.Get', /an object of method options.*"fail"/],
  ['a wrong option of a method', { methods: { Get: { onDrain: 1 } } }, 'methods.Get.onDrain', /'complete' or 'fail'/],
  [
    'an unknown option of a method',
    { methods: { 'Get*': { timeoutMs: 5 } } },
    'methods["Get*"].timeoutMs',
    /unknown key/,
  ],
  ['a drain that is a number', { drain: 5_000 }, 'drain', /an object, as \{ timeoutMs: 10000 \}, got 5000/],
  ['a drain before it began', { drain: { timeoutMs: -1 } }, 'drain.timeoutMs', /of 0 or more, got -1/],
  ['a drain without end', { drain: { timeoutMs: Infinity } }, 'drain.timeoutMs', /got Infinity/],
  ['a leak at once', { leakWarningMs: 0 }, 'leakWarningMs', /above 0, or Infinity for no warning, got 0/],
  ['connections of a moment', { maxConnectionAgeMs: 10 }, 'maxConnectionAgeMs', /of 1000 or more, got 10/],
  ['a negative grace', { maxConnectionAgeGraceMs: -1 }, 'maxConnectionAgeGraceMs', /of 0 or more, got -1/],
  ['an idle connection of a moment', { connectionIdleTimeoutMs: 5 }, 'connectionIdleTimeoutMs', /of 1000 or more/],
  ['no streams', { maxConcurrentStreams: 0 }, 'maxConcurrentStreams', /an integer of 1 or more, got 0/],
  ['half a connection', { backlog: 1.5 }, 'backlog', /an integer of 1 or more, got 1.5/],
  ['health as an object', { health: {} }, 'health', /true or false, got an empty object/],
  ['reflection in words', { reflection: 'yes' }, 'reflection', /true or false, got "yes"/],

  ['channelOptions as a text', { channelOptions: 'x' }, 'channelOptions', /an object of grpc-js's options/],
  [
    'an age of grpc-js in words',
    { channelOptions: { 'grpc.max_connection_age_ms': '5m' } },
    'channelOptions["grpc.max_connection_age_ms"]',
    /a number of 1 or more, got "5m"; write `maxConnectionAgeMs`/,
  ],
  [
    'two ages',
    { maxConnectionAgeMs: 60_000, channelOptions: { 'grpc.max_connection_age_ms': 30_000 } },
    'channelOptions["grpc.max_connection_age_ms"]',
    /what `maxConnectionAgeMs` says, 60000, or nothing, got 30000; keep `maxConnectionAgeMs`/,
  ],
  [
    'two limits of streams',
    { maxConcurrentStreams: 5, channelOptions: { 'grpc.max_concurrent_streams': 6 } },
    'channelOptions["grpc.max_concurrent_streams"]',
    /keep `maxConcurrentStreams`/,
  ],
  [
    'two idle times',
    { connectionIdleTimeoutMs: 5_000, channelOptions: { 'grpc.max_connection_idle_ms': 6_000 } },
    'channelOptions["grpc.max_connection_idle_ms"]',
    /keep `connectionIdleTimeoutMs`/,
  ],
  [
    'two keepalives',
    { keepalive: { keepaliveTimeMs: 30_000 }, channelOptions: { 'grpc.keepalive_time_ms': 10_000 } },
    'channelOptions["grpc.keepalive_time_ms"]',
    /what `keepalive\.keepaliveTimeMs` says, 30000.*got 10000/,
  ],
  [
    'interceptors of Nest',
    { channelOptions: { interceptors: [{}] } },
    'channelOptions.interceptors',
    /grpc-js's interceptors, which are functions, got an array of 1/,
  ],
];

describe('options of a server', () => {
  it.each(WRONG)('are refused: %s', (_what, options, path, remedy) => {
    const found = problems({ ...right, ...options });
    expect(found.map((line) => line.slice(0, line.indexOf(': ')))).toContain(`forRoot.${path}`);
    expect(found.find((line) => line.startsWith(`forRoot.${path}: `))).toMatch(remedy);
  });

  it.each([
    ['nothing (a factory without return)', undefined],
    ['a text', 'orders.proto'],
    ['null', null],
  ])('are refused: %s', (_what, options) => {
    expect(problems(options)).toEqual([
      expect.stringMatching(/^forRoot: expected an object of options, as \{ package/),
    ]);
  });

  it('are refused with everything that is wrong', () => {
    const found = problems({
      protoPath: 7,
      onDrain: 'x',
      colour: 1,
      url: 'grpc://x:1',
      methods: { A: { onDrain: 'y' } },
      channelOptions: { 'grpc.max_connection_age_ms': 'z' },
    });
    expect(found.map((line) => line.slice('forRoot.'.length, line.indexOf(': '))).sort()).toEqual(
      [
        'channelOptions["grpc.max_connection_age_ms"]',
        'colour',
        'methods.A.onDrain',
        'onDrain',
        'protoPath',
        'url',
      ].sort(),
    );
  });

  it('are refused if a getter throws', () => {
    const get = () => {
      throw new Error('not for you');
    };
    expect(problems(Object.defineProperty({ ...right }, 'url', { enumerable: true, get }))).toEqual([
      'forRoot.url: cannot be read: not for you; write plain values',
    ]);
  });

  it('never show a key or a token', () => {
    const found = problems({ ...right, credentials: '-----BEGIN PRIVATE KEY-----', loader: 'x' }).join('\n');
    expect(found).not.toContain('BEGIN');
  });

  it('may be said twice where both say the same, as after Nest wrote one into the other', () => {
    expect(
      problems({
        ...right,
        maxConcurrentStreams: 7,
        keepalive: { keepaliveTimeMs: 9_000, keepalivePermitWithoutCalls: true },
        channelOptions: {
          'grpc.max_concurrent_streams': 7,
          'grpc.keepalive_time_ms': 9_000,
          'grpc.keepalive_permit_without_calls': 1,
        },
      }),
    ).toEqual([]);
  });

  it.each([
    '0.0.0.0:50051',
    '127.0.0.1:0',
    '[::]:50051',
    'localhost:5000',
    'unix:/run/orders.sock',
    'unix:orders.sock',
  ])('take the address %s', (url) => {
    expect(problems({ ...right, url })).toEqual([]);
  });

  it('take undefined wherever something may be left out', () => {
    const keys = [
      ...['url', 'package', 'packageDefinition', 'loader', 'protoLoader', 'maxSendMessageLength', 'maxMetadataSize'],
      ...['maxReceiveMessageLength', 'keepalive', 'channelOptions', 'credentials', 'gracefulShutdown', 'methods'],
      ...['onLoadPackageDefinition', 'onDrain', 'streamIdleTimeoutMs', 'maxQueuedResponseBytes', 'drain', 'health'],
      ...['leakWarningMs', 'maxConnectionAgeMs', 'maxConnectionAgeGraceMs', 'connectionIdleTimeoutMs', 'backlog'],
      ...['maxConcurrentStreams', 'reflection'],
    ];
    expect(problems({ protoPath: 'orders.proto', ...Object.fromEntries(keys.map((key) => [key, undefined])) })).toEqual(
      [],
    );
  });
});
