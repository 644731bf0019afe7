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

/** The path of the problem, and options that are added to a valid contract. */
const INVALID_OPTIONS: readonly [path: string, options: Record<string, unknown>][] = [
  ['transport', { transport: 0 }],
  ['options.package', { transport: 4, options: CONTRACT }],
  ['color', { options: { color: 'red' } }],
  ['options', { options: 'orders' }],
  ['onDrian', { onDrian: 'fail' }],
  ['conections', { conections: { maxAgeMs: 5_000 } }],
  ['ssl', { ssl: true }],

  ['protoLoader', { protoLoader: 'no-such-loader' }],
  ['protoLoader', { protoLoader: 'node:path' }],
  ['channelOptions["grpc-node.flow_control_window"]', { channelOptions: { 'grpc-node.flow_control_window': -1 } }],
  ['url', { url: 50051 }],
  ['url', { url: 'http://0.0.0.0:50051' }],
  ['url', { url: '0.0.0.0:65536' }],
  ['package', { package: 7 }],
  ['protoPath', { protoPath: [] }],
  ['protoPath', { protoPath: undefined }],
  ['packageDefinition', { packageDefinition: {} }],
  ['loader', { loader: 'longs' }],
  ['maxReceiveMessageLength', { maxReceiveMessageLength: '4MB' }],
  ['maxSendMessageLength', { maxSendMessageLength: -2 }],
  ['credentials', { credentials: { key: 'hush' } }],
  ['onLoadPackageDefinition', { onLoadPackageDefinition: 1 }],
  ['gracefulShutdown', { gracefulShutdown: 'true' }],
  ['keepalive', { keepalive: 30_000 }],
  ['keepalive.keepaliveTimeMs', { keepalive: { keepaliveTimeMs: '30s' } }],
  ['keepalive.keepaliveTimeoutMs', { keepalive: { keepaliveTimeoutMs: 0 } }],
  ['keepalive.keepAliveTime', { keepalive: { keepAliveTime: 1 } }],

  ['onDrain', { onDrain: 'cancel' }],
  ['maxConcurrentCalls', { maxConcurrentCalls: 0 }],
  ['maxConcurrentCalls', { maxConcurrentCalls: 'adaptve' }],
  ['maxConcurrentCalls.queue', { maxConcurrentCalls: { max: 1, queue: -1 } }],
  ['maxCallMs', { maxCallMs: 0 }],
  ['overloadProtection', { overloadProtection: 'yes' }],
  ['maxStreamIdleMs', { maxStreamIdleMs: 0 }],
  ['methods["0"]', { methods: ['Get'] }],
  ['methods', { methods: 'Get' }],
  ['methods.Get', { methods: { Get: 'fail' } }],
  ['methods.Get.onDrain', { methods: { Get: { onDrain: 1 } } }],
  ['drain', { drain: 5_000 }],
  ['drain.timeoutMs', { drain: { timeoutMs: -1 } }],
  ['drain.timeoutMs', { drain: { timeoutMs: Infinity } }],
  ['connections.maxAgeMs', { connections: { maxAgeMs: 10 } }],
  ['connections.graceMs', { connections: { graceMs: -1 } }],
  ['connections.idleMs', { connections: { idleMs: 5 } }],
  ['channelOptions["grpc.max_concurrent_streams"]', { channelOptions: { 'grpc.max_concurrent_streams': 0 } }],
  ['health', { health: {} }],
  ['reflection', { reflection: 'yes' }],

  ['channelOptions', { channelOptions: 'x' }],
  ['channelOptions["grpc.max_connection_age_ms"]', { channelOptions: { 'grpc.max_connection_age_ms': '5m' } }],
  ['channelOptions.interceptors', { channelOptions: { interceptors: [{}] } }],
];

describe('invalid server options', () => {
  it.each(INVALID_OPTIONS)('reports one problem at %s for %o', (path, options) => {
    const found = problemsOf({ ...CONTRACT, ...options }).filter((problem) => problem.startsWith(`forRoot.${path}: `));
    expect(found).toEqual([expect.stringMatching(/: (?:expected .+, got .+|unknown option.*|also given .+)$/s)]);
  });

  it.each([
    ['undefined (a factory without a return value)', undefined],
    ['a string', 'orders.proto'],
    ['null', null],
  ])('rejects %s in place of server options', (_what, options) => {
    expect(problemsOf(options)).toEqual([expect.stringMatching(/^forRoot: expected an object, got /)]);
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
      'forRoot: cannot be read: not for you; write plain values',
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

  it.each([null, '', false])("takes Nest's options that are %o as not given, as Nest does", (value) => {
    const names = [
      'url',
      'package',
      'packageDefinition',
      'loader',
      'protoLoader',
      'maxSendMessageLength',
      'maxReceiveMessageLength',
      'maxMetadataSize',
      'keepalive',
      'channelOptions',
      'credentials',
      'gracefulShutdown',
      'onLoadPackageDefinition',
    ];
    const options = Object.fromEntries(names.map((name) => [name, value]));
    const { nest } = resolveServerOptions({ ...options, protoPath: 'orders.proto' }, 'forRoot');
    expect(nest).toEqual({ protoPath: 'orders.proto' });
  });

  it('takes null in keepalive and channelOptions as not given, as grpc-js does', () => {
    const keepalive = { keepaliveTimeMs: null, keepaliveTimeoutMs: 1_000 };
    const channelOptions = { 'grpc.max_connection_age_ms': null, 'grpc.max_concurrent_streams': 5 };
    const { nest } = resolveServerOptions({ ...CONTRACT, keepalive, channelOptions }, 'forRoot');
    expect(nest.keepalive).toEqual({ keepaliveTimeoutMs: 1_000 });
    expect(nest.channelOptions).toEqual({ 'grpc.max_concurrent_streams': 5 });
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
      once: undefined,
      connections: undefined,
      transport: undefined,
      reflection: undefined,
      overloadProtection: undefined,
      maxConcurrentCalls: undefined,
      maxCallMs: undefined,
    };
    expect(problemsOf({ protoPath: 'orders.proto', ...options })).toEqual([]);
  });
});
