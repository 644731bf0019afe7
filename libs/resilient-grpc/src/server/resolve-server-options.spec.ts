import { Server, ServerCredentials } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { grpcServerOptions } from './grpc-server-options.js';
import { resolveServerOptions } from './resolve-server-options.js';
import type { ResilientGrpcServerOptions } from './server-options.js';

const right = { package: 'orders.v1', protoPath: 'orders.proto' };
const resolve = (options: Partial<ResilientGrpcServerOptions> = {}) =>
  resolveServerOptions({ ...right, ...options }, 'forRoot');
const forGrpcJs = (options: Partial<ResilientGrpcServerOptions> = {}) => grpcServerOptions(resolve(options));

describe('resolved options of a server', () => {
  it('are complete where only a contract was given', () => {
    const { methodOptions, nest, path: _path, ...rest } = resolve();
    expect(rest).toEqual({
      drain: { timeoutMs: 10_000, readinessDelayMs: 0 },
      leakWarningMs: 60_000,
      maxConnectionAgeMs: undefined,
      maxConnectionAgeGraceMs: undefined,
      connectionIdleTimeoutMs: undefined,
      maxConcurrentStreams: undefined,
      backlog: 511,
      health: true,
      reflection: false,
      patterns: [],
      warnings: [],
    });
    expect(nest).toEqual(right);
    expect(methodOptions('orders.v1.Orders', 'Get')).toEqual({
      onDrain: 'fail',
      streamIdleTimeoutMs: undefined,
      maxQueuedResponseBytes: 8_388_608,
    });
  });

  it('are as they were given', () => {
    const given = {
      drain: { timeoutMs: 5_000, readinessDelayMs: 100 },
      leakWarningMs: Infinity,
      maxConnectionAgeMs: 60_000,
      maxConnectionAgeGraceMs: 0,
      connectionIdleTimeoutMs: 30_000,
      maxConcurrentStreams: 100,
      backlog: 10,
      health: false,
      reflection: true,
    };
    expect(resolve(given)).toMatchObject(given);
  });

  it('of a method are those of the most exact pattern, key by key', () => {
    const { methodOptions, patterns } = resolve({
      onDrain: 'complete',
      methods: {
        'orders.v1.Orders/Watch': { onDrain: 'finish', maxQueuedResponseBytes: undefined },
        '*': { streamIdleTimeoutMs: 30_000, onDrain: 'fail' },
        'Watch*': { streamIdleTimeoutMs: 10_000, maxQueuedResponseBytes: 1_024 },
      },
    });
    expect(methodOptions('orders.v1.Orders', 'Watch')).toEqual({
      onDrain: 'finish',
      streamIdleTimeoutMs: 10_000,
      maxQueuedResponseBytes: 1_024,
    });
    expect(methodOptions('orders.v1.Orders', 'Session').onDrain).toBe('fail');
    expect(patterns).toEqual(['orders.v1.Orders/Watch', '*', 'Watch*']);
    expect(resolve({ onDrain: 'complete' }).methodOptions('a', 'B').onDrain).toBe('complete');
  });

  it("let streams finish where Nest's gracefulShutdown asks for it, unless said otherwise", () => {
    expect(resolve({ gracefulShutdown: true }).methodOptions('a', 'B').onDrain).toBe('finish');
    expect(resolve({ gracefulShutdown: false }).methodOptions('a', 'B').onDrain).toBe('fail');
    expect(resolve({ gracefulShutdown: true, onDrain: 'fail' }).methodOptions('a', 'B').onDrain).toBe('fail');
  });

  it("take limits of connections under grpc-js's names, as large or small as they are", () => {
    const limits = resolve({
      channelOptions: {
        'grpc.max_connection_age_ms': 300,
        'grpc.max_connection_age_grace_ms': 0,
        'grpc.max_connection_idle_ms': 200,
        'grpc.max_concurrent_streams': 3,
      },
    });
    expect(limits).toMatchObject({
      maxConnectionAgeMs: 300,
      maxConnectionAgeGraceMs: 0,
      connectionIdleTimeoutMs: 200,
      maxConcurrentStreams: 3,
    });
  });

  it('take what grpc-js takes for no limit for none', () => {
    const unlimited = resolve({
      channelOptions: { 'grpc.max_connection_age_ms': 2 ** 31 - 1, 'grpc.max_connection_idle_ms': Infinity },
    });
    expect(unlimited.maxConnectionAgeMs).toBeUndefined();
    expect(unlimited.connectionIdleTimeoutMs).toBeUndefined();
  });

  it('warn of what surprises', () => {
    const { warnings } = resolve({
      maxMetadataSize: 8_192,
      keepalive: { http2MaxPingStrikes: 2, http2MaxPingsWithoutData: 0, keepaliveTimeMs: 30_000 },
      maxConnectionAgeGraceMs: 5_000,
      drain: { timeoutMs: 5_000, readinessDelayMs: 5_000 },
    });
    expect(warnings).toEqual([
      "without effect, as grpc-js's server has no such setting: maxMetadataSize, keepalive.http2MaxPingStrikes, keepalive.http2MaxPingsWithoutData",
      'maxConnectionAgeGraceMs does nothing without maxConnectionAgeMs',
      'drain.readinessDelayMs (5000) leaves no time for calls to finish in drain.timeoutMs (5000), which is the whole shutdown',
    ]);
  });

  it('leave what the user gave as it was, and hand it to Nest', () => {
    const given = Object.freeze({
      ...right,
      maxSendMessageLength: 5,
      channelOptions: Object.freeze({ 'grpc.max_connection_age_ms': 60_000 }),
      keepalive: Object.freeze({ keepaliveTimeMs: 5_000 }),
    });
    const before = structuredClone(given);
    const resolved = resolveServerOptions(given, 'forRoot');
    grpcServerOptions(resolved);
    expect(given).toEqual(before);
    expect(resolved.nest).toEqual(given);
  });
});

describe("options of grpc-js's server", () => {
  it('have pings that find peers which are gone, and no channelz', () => {
    expect(forGrpcJs()).toEqual({
      'grpc.enable_channelz': 0,
      'grpc.keepalive_time_ms': 60_000,
      'grpc.keepalive_timeout_ms': 20_000,
    });
  });

  it("have Nest's keys, as Nest names them", () => {
    const interceptor = () => undefined as never;
    expect(
      forGrpcJs({
        maxSendMessageLength: 5,
        maxReceiveMessageLength: -1,
        maxMetadataSize: 6,
        maxConcurrentStreams: 7,
        keepalive: { keepaliveTimeMs: 8_000, keepaliveTimeoutMs: 9_000, http2MaxPingStrikes: 1 },
        channelOptions: {
          'grpc.max_send_message_length': 4,
          'grpc.enable_channelz': 1,
          'grpc-node.max_session_memory': 10,
          'grpc.default_authority': undefined as never,
          interceptors: [interceptor],
        },
      }),
    ).toEqual({
      'grpc.max_send_message_length': 5,
      'grpc.max_receive_message_length': -1,
      'grpc.max_metadata_size': 6,
      'grpc.max_concurrent_streams': 7,
      'grpc.keepalive_time_ms': 8_000,
      'grpc.keepalive_timeout_ms': 9_000,
      'grpc.http2.max_ping_strikes': 1,
      'grpc.enable_channelz': 1,
      'grpc-node.max_session_memory': 10,
      interceptors: [interceptor],
    });
  });

  it('keep pings of channelOptions', () => {
    const channelOptions = { 'grpc.keepalive_time_ms': 1_234, 'grpc.keepalive_timeout_ms': 567 };
    expect(forGrpcJs({ channelOptions })).toMatchObject(channelOptions);
  });

  it.each([0, Infinity, 2 ** 40])('send no pings where their time is %d', (keepaliveTimeMs) => {
    const options = forGrpcJs({ keepalive: { keepaliveTimeMs } });
    const time = options['grpc.keepalive_time_ms']!;
    // What grpc-js takes for none.
    expect(time === 0 || time === 2 ** 31 - 1).toBe(true);
  });

  it('never have an age or idle time of connections, which are ended in another way', () => {
    const options = forGrpcJs({
      maxConnectionAgeMs: 60_000,
      channelOptions: { 'grpc.max_connection_age_grace_ms': 5, 'grpc.max_connection_idle_ms': 6_000 },
    });
    expect(Object.keys(options).filter((key) => key.includes('connection'))).toEqual([]);
  });

  it('are taken by its server', () => {
    const server = new Server(forGrpcJs({ maxConcurrentStreams: 5, credentials: ServerCredentials.createInsecure() }));
    expect(Reflect.get(server, 'keepaliveTimeMs')).toBe(60_000);
    expect(Reflect.get(server, 'channelzEnabled')).toBe(false);
    server.forceShutdown();
  });
});
