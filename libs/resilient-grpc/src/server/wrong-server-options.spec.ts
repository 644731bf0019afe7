import { describe, expect, it } from 'vitest';
import { GrpcConfigurationError } from '../errors/grpc-configuration-error.js';
import { resolveServerOptions } from './resolve-server-options.js';
import type { ResilientGrpcServerOptions } from './server-options.js';

const CONTRACT = { package: 'orders.v1', protoPath: 'orders.proto' };

function problemsOf(options: unknown): string[] {
  try {
    resolveServerOptions(options, 'forRoot');
    return [];
  } catch (error) {
    if (!(error instanceof GrpcConfigurationError)) throw error;
    return error.problems.map(({ path, message }) => `${path}: ${message}`);
  }
}

/** Title, options added to a valid contract, path of the problem, and expected part of its message. */
const INVALID_OPTIONS: readonly [what: string, options: Record<string, unknown>, path: string, message: RegExp][] = [
  ['a transport other than gRPC', { transport: 0 }, 'transport', /expected Transport\.GRPC, got 0$/],
  [
    "the same key inside and outside Nest's `options`",
    { transport: 4, options: CONTRACT },
    'options.package',
    /also given outside of `options`$/,
  ],
  ["an unknown key in Nest's `options`", { options: { color: 'red' } }, 'color', /unknown option$/],
  [
    "a string in place of Nest's options",
    { options: 'orders' },
    'options',
    /expected Nest's gRPC options such as \{ url, package, protoPath \}, got "orders"$/,
  ],
  ['the misspelled option onDrian', { onDrian: 'fail' }, 'onDrian', /did you mean 'onDrain'\?/],
  [
    'the misspelled option conections',
    { conections: { maxAgeMs: 5_000 } },
    'conections',
    /did you mean 'connections'\?/,
  ],
  ['an ssl option', { ssl: true }, 'ssl', /unknown option; did you mean 'url'\?$/],

  [
    'a proto-loader that is not installed',
    { protoLoader: 'no-such-loader' },
    'protoLoader',
    /got "no-such-loader" \(Cannot find module 'no-such-loader'\); install the package \(for a bundled application, next to the bundle\), or leave the option out/,
  ],
  ['a proto-loader without loadSync()', { protoLoader: 'node:path' }, 'protoLoader', /a package with loadSync\(\)/],
  [
    'a negative flow-control window',
    { channelOptions: { 'grpc-node.flow_control_window': -1 } },
    'channelOptions["grpc-node.flow_control_window"]',
    /an integer from 65535/,
  ],
  ['a url that is a number', { url: 50051 }, 'url', /an address such as '0\.0\.0\.0:50051', got 50051/],
  [
    'an http url',
    { url: 'http://0.0.0.0:50051' },
    'url',
    /whose scheme gRPC does not support; write '0\.0\.0\.0:50051'$/,
  ],
  ['a port out of range', { url: '0.0.0.0:65536' }, 'url', /a port from 0 to 65535, got '65536'/],
  [
    'a package that is a number',
    { package: 7 },
    'package',
    /a package or an array of packages such as 'orders\.v1', got 7/,
  ],
  [
    'an empty list of .proto files',
    { protoPath: [] },
    'protoPath',
    /a \.proto file or an array of \.proto files.*an array of length 0/,
  ],
  [
    'neither protoPath nor packageDefinition',
    { protoPath: undefined },
    'protoPath',
    /write protoPath: 'orders\.proto', or packageDefinition/,
  ],
  ['both protoPath and packageDefinition', { packageDefinition: {} }, 'packageDefinition', /got both; keep one/],
  [
    'proto-loader options as a string',
    { loader: 'longs' },
    'loader',
    /proto-loader options such as \{ longs: String \}/,
  ],
  [
    'a message size limit that is a string',
    { maxReceiveMessageLength: '4MB' },
    'maxReceiveMessageLength',
    /bytes, or -1 for no limit/,
  ],
  ['a message size limit below -1', { maxSendMessageLength: -2 }, 'maxSendMessageLength', /or -1 for no limit, got -2/],
  ['credentials of a client', { credentials: { key: 'hush' } }, 'credentials', /createSsl.*npm ls.*got an object$/],
  [
    'an onLoadPackageDefinition that is not a function',
    { onLoadPackageDefinition: 1 },
    'onLoadPackageDefinition',
    /a function such as \(definition/,
  ],
  [
    'gracefulShutdown as a string',
    { gracefulShutdown: 'true' },
    'gracefulShutdown',
    /expected true or false, got "true"$/,
  ],
  [
    'null for an option',
    { keepalive: null },
    'keepalive',
    /expected an object such as \{ keepaliveTimeMs: 30000 \}, got null$/,
  ],
  [
    'a keepalive time that is a string',
    { keepalive: { keepaliveTimeMs: '30s' } },
    'keepalive.keepaliveTimeMs',
    /expected a number of milliseconds, 0 or more, or Infinity, got "30s"$/,
  ],
  [
    'a keepalive ping timeout of 0',
    { keepalive: { keepaliveTimeoutMs: 0 } },
    'keepalive.keepaliveTimeoutMs',
    /milliseconds, 1 or more, got 0/,
  ],
  [
    'a misspelled keepalive option',
    { keepalive: { keepAliveTime: 1 } },
    'keepalive.keepAliveTime',
    /did you mean 'keepaliveTimeMs'/,
  ],

  ['an unknown value of onDrain', { onDrain: 'cancel' }, 'onDrain', /'finish', 'complete', or 'fail', got "cancel"/],
  ['a limit of 0 concurrent calls', { maxConcurrentCalls: 0 }, 'maxConcurrentCalls', /1 or more, .* got 0/],
  [
    'a misspelled adaptive concurrency limit',
    { maxConcurrentCalls: 'adaptve' },
    'maxConcurrentCalls',
    /got "adaptve"$/,
  ],
  [
    'a negative number of queued calls',
    { maxConcurrentCalls: { max: 1, queue: -1 } },
    'maxConcurrentCalls.queue',
    /0 or more, got -1/,
  ],
  [
    'a maximum call duration of 0',
    { maxCallMs: 0 },
    'maxCallMs',
    /expected a number of milliseconds above 0, or Infinity for no limit, got 0$/,
  ],
  [
    'an overloadProtection that is not a boolean',
    { overloadProtection: 'yes' },
    'overloadProtection',
    /true or false, got "yes"/,
  ],
  [
    'a stream idle timeout of 0',
    { maxStreamIdleMs: 0 },
    'maxStreamIdleMs',
    /expected a number of milliseconds above 0, or Infinity for no limit, got 0$/,
  ],
  ['methods as an array', { methods: ['Get'] }, 'methods["0"]', /an object of method options.*got "Get"/],
  ['methods as a string', { methods: 'Get' }, 'methods', /an object of options by method, such as \{ Watch/],
  [
    'method options that are not an object',
    { methods: { Get: 'fail' } },
    'methods.Get',
    /an object of method options.*"fail"/,
  ],
  [
    'an invalid option of a method',
    { methods: { Get: { onDrain: 1 } } },
    'methods.Get.onDrain',
    /'complete', or 'fail'/,
  ],
  ['a drain that is a number', { drain: 5_000 }, 'drain', /an object such as \{ timeoutMs: 8000 \}, got 5000/],
  ['a negative drain timeout', { drain: { timeoutMs: -1 } }, 'drain.timeoutMs', /milliseconds, 0 or more, got -1/],
  ['an infinite drain timeout', { drain: { timeoutMs: Infinity } }, 'drain.timeoutMs', /got Infinity/],
  [
    'a connection age below 1 s',
    { connections: { maxAgeMs: 10 } },
    'connections.maxAgeMs',
    /milliseconds, 1000 or more, got 10/,
  ],
  [
    'a negative connection age grace period',
    { connections: { graceMs: -1 } },
    'connections.graceMs',
    /milliseconds, 0 or more, got -1/,
  ],
  [
    'a connection idle timeout below 1 s',
    { connections: { idleMs: 5 } },
    'connections.idleMs',
    /milliseconds, 1000 or more/,
  ],
  [
    'a limit of 0 concurrent streams',
    { channelOptions: { 'grpc.max_concurrent_streams': 0 } },
    'channelOptions["grpc.max_concurrent_streams"]',
    /an integer of 1 or more, got 0/,
  ],
  ['health as an object', { health: {} }, 'health', /true or false, got an empty object/],
  ['reflection as a string', { reflection: 'yes' }, 'reflection', /true or false, got "yes"/],

  ['channelOptions as a string', { channelOptions: 'x' }, 'channelOptions', /an object of grpc-js options/],
  [
    'a grpc-js connection age that is a string',
    { channelOptions: { 'grpc.max_connection_age_ms': '5m' } },
    'channelOptions["grpc.max_connection_age_ms"]',
    /a number of 1 or more, got "5m"; write connections: \{ maxAgeMs \}/,
  ],
  [
    'two different connection ages',
    { connections: { maxAgeMs: 60_000 }, channelOptions: { 'grpc.max_connection_age_ms': 30_000 } },
    'channelOptions["grpc.max_connection_age_ms"]',
    /expected 60000, as in `connections\.maxAgeMs`, got 30000; keep only `connections\.maxAgeMs`/,
  ],
  [
    'two different connection idle timeouts',
    { connections: { idleMs: 5_000 }, channelOptions: { 'grpc.max_connection_idle_ms': 6_000 } },
    'channelOptions["grpc.max_connection_idle_ms"]',
    /keep only `connections\.idleMs`/,
  ],
  [
    'two different keepalive times',
    { keepalive: { keepaliveTimeMs: 30_000 }, channelOptions: { 'grpc.keepalive_time_ms': 10_000 } },
    'channelOptions["grpc.keepalive_time_ms"]',
    /expected 30000, as in `keepalive\.keepaliveTimeMs`, got 10000/,
  ],
  [
    'interceptors that are not functions',
    { channelOptions: { interceptors: [{}] } },
    'channelOptions.interceptors',
    /grpc-js interceptors \(functions\), got an array of length 1/,
  ],
];

describe('invalid server options', () => {
  it.each(INVALID_OPTIONS)('rejects server options with %s', (_what, options, path, message) => {
    const found = problemsOf({ ...CONTRACT, ...options });
    expect(found.map((line) => line.slice(0, line.indexOf(': ')))).toContain(`forRoot.${path}`);
    expect(found.find((line) => line.startsWith(`forRoot.${path}: `))).toMatch(message);
  });

  it.each([
    ['undefined (a factory without a return value)', undefined],
    ['a string', 'orders.proto'],
    ['null', null],
  ])('rejects %s in place of server options', (_what, options) => {
    expect(problemsOf(options)).toEqual([
      expect.stringMatching(/^forRoot: expected an object of options such as \{ package/),
    ]);
  });

  it('reports all problems of the server options at once', () => {
    const found = problemsOf({
      protoPath: 7,
      onDrain: 'x',
      color: 1,
      url: 'grpc://x:1',
      methods: { A: { onDrain: 'y' } },
      channelOptions: { 'grpc.max_connection_age_ms': 'z' },
    });
    expect(found.map((line) => line.slice('forRoot.'.length, line.indexOf(': '))).sort()).toEqual(
      [
        'channelOptions["grpc.max_connection_age_ms"]',
        'color',
        'methods.A.onDrain',
        'onDrain',
        'protoPath',
        'url',
      ].sort(),
    );
  });

  it('rejects server options with a getter that throws', () => {
    const get = () => {
      throw new Error('not for you');
    };
    expect(problemsOf(Object.defineProperty({ ...CONTRACT }, 'url', { enumerable: true, get }))).toEqual([
      'forRoot.url: cannot be read: not for you; write plain values',
    ]);
  });

  it('omits private keys from errors about server options', () => {
    const found = problemsOf({ ...CONTRACT, credentials: '-----BEGIN PRIVATE KEY-----', loader: 'x' }).join('\n');
    expect(found).not.toContain('BEGIN');
  });

  it('accepts a server option given twice with the same value, because Nest copies some options into channelOptions', () => {
    expect(
      problemsOf({
        ...CONTRACT,
        connections: { maxAgeMs: 60_000 },
        keepalive: { keepaliveTimeMs: 9_000, keepalivePermitWithoutCalls: true },
        channelOptions: {
          'grpc.max_connection_age_ms': 60_000,
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
  ])('accepts the server address %s', (url) => {
    expect(problemsOf({ ...CONTRACT, url })).toEqual([]);
  });

  it('reports invalid channelOptions even if an unknown key starts with the name of an option', () => {
    const channelOptions = { 'grpc.max_connection_age_ms': '5m' };
    const problems = problemsOf({ ...CONTRACT, keepaliveTimeMs: 1, channelOptionsOfMine: {}, channelOptions });
    expect(problems.map((problem) => problem.split(':')[0])).toEqual([
      'forRoot.keepaliveTimeMs',
      'forRoot.channelOptionsOfMine',
      'forRoot.channelOptions["grpc.max_connection_age_ms"]',
    ]);
  });

  it('accepts undefined as the value of optional server options', () => {
    // The type requires every option except protoPath, so that the list stays complete.
    const options: Record<Exclude<keyof ResilientGrpcServerOptions, 'protoPath'>, undefined> = {
      url: undefined,
      package: undefined,
      packageDefinition: undefined,
      loader: undefined,
      protoLoader: undefined,
      maxSendMessageLength: undefined,
      maxMetadataSize: undefined,
      maxReceiveMessageLength: undefined,
      keepalive: undefined,
      channelOptions: undefined,
      credentials: undefined,
      gracefulShutdown: undefined,
      methods: undefined,
      onLoadPackageDefinition: undefined,
      onDrain: undefined,
      maxStreamIdleMs: undefined,
      drain: undefined,
      health: undefined,
      connections: undefined,
      reflection: undefined,
      overloadProtection: undefined,
      maxConcurrentCalls: undefined,
      maxCallMs: undefined,
    };
    expect(problemsOf({ protoPath: 'orders.proto', ...options })).toEqual([]);
  });
});
