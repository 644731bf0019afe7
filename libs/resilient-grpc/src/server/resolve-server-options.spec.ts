import { Server } from '@grpc/grpc-js';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { grpcServerOptions } from './grpc-server-options.js';
import { resolveServerOptions } from './resolve-server-options.js';
import type { ResilientGrpcServerOptions } from './server-options.js';

const CONTRACT = { package: 'orders.v1', protoPath: 'orders.proto' };
const resolve = (options: Partial<ResilientGrpcServerOptions> = {}) =>
  resolveServerOptions({ ...CONTRACT, ...options }, 'forRoot');
const forGrpcJs = (options: Partial<ResilientGrpcServerOptions> = {}) => grpcServerOptions(resolve(options));

describe('resolveServerOptions', () => {
  it.each([
    ['grpc-js', undefined, 'grpc-js'],
    ['grpc-js', 'socket', 'grpc-js'],
    ['socket', undefined, 'socket'],
    ['socket', 'grpc-js', 'grpc-js'],
    [undefined, 'socket', 'socket'],
    [undefined, undefined, 'socket'],
  ] as const)('with NESTJS_RESILIENT_GRPC_TRANSPORT=%s and transport %s, uses %s', (ofProcess, own, used) => {
    vi.stubEnv('NESTJS_RESILIENT_GRPC_TRANSPORT', ofProcess);
    onTestFinished(() => void vi.unstubAllEnvs());
    expect(resolve({ transport: own }).transport).toBe(used);
  });

  it('warns about a transport in the environment that does not exist', () => {
    vi.stubEnv('NESTJS_RESILIENT_GRPC_TRANSPORT', 'grpcjs');
    onTestFinished(() => void vi.unstubAllEnvs());
    const { transport, warnings } = resolve({ transport: 'socket' });
    expect(transport).toBe('socket');
    expect(warnings).toEqual([
      "NESTJS_RESILIENT_GRPC_TRANSPORT has no effect: expected 'socket' or 'grpc-js', got \"grpcjs\"",
    ]);
  });

  it('names the channel options that have no meaning on the transport of this library', () => {
    const channelOptions = {
      'grpc-node.max_session_memory': 10,
      'grpc.max_concurrent_streams': 5,
      'grpc.enable_channelz': 0,
      'grpc.http2.max_ping_strikes': 3,
    };
    vi.stubEnv('NESTJS_RESILIENT_GRPC_TRANSPORT', undefined);
    onTestFinished(() => void vi.unstubAllEnvs());
    expect(resolve({ channelOptions, transport: 'grpc-js' }).warnings).toEqual([]);
    expect(resolve({ channelOptions }).warnings).toEqual([
      "channelOptions without a meaning for servers on transport 'socket': grpc-node.max_session_memory, grpc.http2.max_ping_strikes; remove them",
    ]);
  });

  it('fills in the default server options if only a contract is given', () => {
    vi.stubEnv('NESTJS_RESILIENT_GRPC_TRANSPORT', undefined);
    onTestFinished(() => void vi.unstubAllEnvs());
    const { methodOptions, nest, path: _path, ...rest } = resolve();
    expect(rest).toEqual({
      drain: { timeoutMs: 8_000, readinessDelayMs: 0 },
      maxConnectionAgeMs: undefined,
      maxConnectionAgeGraceMs: undefined,
      connectionIdleTimeoutMs: undefined,
      maxConnections: Infinity,
      transport: 'socket',
      health: true,
      maxConcurrentCalls: undefined,
      reflection: false,
      patterns: [],
      warnings: [],
    });
    expect(nest).toEqual(CONTRACT);
    expect(methodOptions('orders.v1.Orders', 'Get')).toEqual({
      onDrain: 'fail',
      maxStreamIdleMs: undefined,
      overloadProtection: true,
      maxConcurrentCalls: undefined,
      maxCallMs: undefined,
    });
  });

  it('applies a top-level maxConcurrentCalls to the server as a whole, and one in `methods` to each matching method', () => {
    const { maxConcurrentCalls, methodOptions } = resolve({
      maxConcurrentCalls: { max: 50, queue: 7 },
      maxCallMs: 9_000,
      methods: { Get: { maxConcurrentCalls: 10, maxCallMs: 500 } },
    });
    expect(maxConcurrentCalls).toEqual({ maxConcurrent: 50, maxQueued: 7 });
    expect(methodOptions('a', 'Get')).toMatchObject({
      maxConcurrentCalls: { maxConcurrent: 10, maxQueued: 1_000 },
      maxCallMs: 500,
    });
    expect(methodOptions('a', 'Put')).toMatchObject({
      maxConcurrentCalls: undefined,
      maxCallMs: 9_000,
    });
  });

  it('turns off an inherited limit of a method if the method sets the limit to Infinity or false', () => {
    const none = { maxStreamIdleMs: undefined, maxCallMs: undefined };
    const { maxConcurrentCalls, methodOptions } = resolve({
      maxStreamIdleMs: 1_000,
      maxCallMs: 9_000,
      maxConcurrentCalls: false,
      methods: {
        '*': { maxConcurrentCalls: 10 },
        Get: { maxStreamIdleMs: Infinity, maxCallMs: Infinity, maxConcurrentCalls: false },
      },
    });
    expect(maxConcurrentCalls).toBeUndefined();
    expect(methodOptions('a', 'Get')).toMatchObject({ ...none, maxConcurrentCalls: undefined });
    expect(methodOptions('a', 'Put')).toMatchObject({ maxConcurrentCalls: { maxConcurrent: 10 }, maxCallMs: 9_000 });
    const all = resolve({ maxStreamIdleMs: Infinity, maxCallMs: Infinity });
    expect(all.methodOptions('a', 'Get')).toMatchObject(none);
  });

  it('keeps the given values of valid server options', () => {
    const given = {
      drain: { timeoutMs: 5_000, readinessDelayMs: 100 },
      connections: { maxAgeMs: 60_000, graceMs: 0, idleMs: 30_000 },
      health: false,
      reflection: true,
    };
    const { connections, ...others } = given;
    const { maxAgeMs, graceMs, idleMs } = connections;
    expect(resolve(given)).toMatchObject({
      ...others,
      maxConnectionAgeMs: maxAgeMs,
      maxConnectionAgeGraceMs: graceMs,
      connectionIdleTimeoutMs: idleMs,
    });
  });

  it('resolves method options from the most specific pattern, key by key', () => {
    const { methodOptions, patterns } = resolve({
      onDrain: 'complete',
      methods: {
        'orders.v1.Orders/Watch': { onDrain: 'finish', maxCallMs: undefined },
        '*': { maxStreamIdleMs: 30_000, onDrain: 'fail' },
        'Watch*': { maxStreamIdleMs: 10_000, maxCallMs: 1_024, overloadProtection: false },
      },
    });
    expect(methodOptions('orders.v1.Orders', 'Watch')).toEqual({
      onDrain: 'finish',
      maxStreamIdleMs: 10_000,
      overloadProtection: false,
      maxConcurrentCalls: undefined,
      maxCallMs: 1_024,
    });
    expect(methodOptions('orders.v1.Orders', 'Session').onDrain).toBe('fail');
    expect(patterns).toEqual(['orders.v1.Orders/Watch', '*', 'Watch*']);
    expect(resolve({ onDrain: 'complete' }).methodOptions('a', 'B').onDrain).toBe('complete');
  });

  it("defaults onDrain to 'finish' if Nest's gracefulShutdown is true", () => {
    expect(resolve({ gracefulShutdown: true }).methodOptions('a', 'B').onDrain).toBe('finish');
    expect(resolve({ gracefulShutdown: false }).methodOptions('a', 'B').onDrain).toBe('fail');
    expect(resolve({ gracefulShutdown: true, onDrain: 'fail' }).methodOptions('a', 'B').onDrain).toBe('fail');
  });

  it('accepts connection ages and idle times below 1 s if they are given as channel options of grpc-js', () => {
    const limits = resolve({
      channelOptions: {
        'grpc.max_connection_age_ms': 300,
        'grpc.max_connection_age_grace_ms': 0,
        'grpc.max_connection_idle_ms': 200,
      },
    });
    expect(limits).toMatchObject({
      maxConnectionAgeMs: 300,
      maxConnectionAgeGraceMs: 0,
      connectionIdleTimeoutMs: 200,
    });
  });

  it("treats grpc-js's values for an unlimited connection age or idle time as no limit", () => {
    const unlimited = resolve({
      channelOptions: { 'grpc.max_connection_age_ms': 2 ** 31 - 1, 'grpc.max_connection_idle_ms': Infinity },
    });
    expect(unlimited.maxConnectionAgeMs).toBeUndefined();
    expect(unlimited.connectionIdleTimeoutMs).toBeUndefined();
  });

  it('warns about server options that have no effect, conflict with each other, or rely on the default port', () => {
    const { warnings } = resolve({
      url: '0.0.0.0',
      transport: 'grpc-js',
      maxMetadataSize: 8_192,
      keepalive: {
        http2MaxPingStrikes: 2,
        http2MaxPingsWithoutData: 0,
        keepalivePermitWithoutCalls: 1,
        keepaliveTimeMs: 30_000,
      },
      connections: { graceMs: 5_000 },
      drain: { timeoutMs: 5_000, readinessDelayMs: 5_000 },
    });
    expect(warnings).toEqual([
      "url '0.0.0.0' has no port; gRPC uses 443; add the port",
      'options ignored by grpc-js servers: maxMetadataSize, keepalive.http2MaxPingStrikes, keepalive.http2MaxPingsWithoutData, keepalive.keepalivePermitWithoutCalls; remove them',
      'connections.graceMs has no effect without connections.maxAgeMs; set both, or remove graceMs',
      'drain.readinessDelayMs (5000) leaves no time for calls to finish, because drain.timeoutMs (5000) includes it; write a larger drain.timeoutMs',
    ]);
  });

  it('passes the given server options to Nest without changing them', () => {
    const given = Object.freeze({
      ...CONTRACT,
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

describe('grpcServerOptions', () => {
  it('disables channelz by default, except on the transport of grpc-js', () => {
    expect(forGrpcJs()).toEqual({ 'grpc.enable_channelz': 0 });
    expect(forGrpcJs({ transport: 'grpc-js' })).toEqual({});
  });

  it("maps the keys of Nest's server options to those of grpc-js", () => {
    const interceptor = () => undefined as never;
    expect(
      forGrpcJs({
        maxSendMessageLength: 5,
        maxReceiveMessageLength: -1,
        maxMetadataSize: 6,
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
      'grpc.keepalive_time_ms': 8_000,
      'grpc.keepalive_timeout_ms': 9_000,
      'grpc.http2.max_ping_strikes': 1,
      'grpc.enable_channelz': 1,
      'grpc-node.max_session_memory': 10,
      interceptors: [interceptor],
    });
  });

  it('keeps the keepalive settings of channelOptions', () => {
    const channelOptions = { 'grpc.keepalive_time_ms': 1_234, 'grpc.keepalive_timeout_ms': 567 };
    expect(forGrpcJs({ channelOptions })).toMatchObject(channelOptions);
  });

  it.each([0, Infinity, 2 ** 40])('disables keepalive pings if keepaliveTimeMs is %d', (keepaliveTimeMs) => {
    const options = forGrpcJs({ keepalive: { keepaliveTimeMs } });
    const time = options['grpc.keepalive_time_ms']!;
    // grpc-js sends no pings for either value.
    expect(time === 0 || time === 2 ** 31 - 1).toBe(true);
  });

  it.each([
    ['socket', { 'grpc.enable_channelz': 0 }],
    [
      'grpc-js',
      {
        'grpc.max_connection_age_ms': 60_000,
        'grpc.max_connection_age_grace_ms': 5,
        'grpc.max_connection_idle_ms': 6_000,
      },
    ],
  ] as const)(
    'on transport %s, grpc-js gets the age and idle limits of connections that it enforces',
    (transport, expected) => {
      const options = forGrpcJs({
        transport,
        connections: { maxAgeMs: 60_000 },
        channelOptions: { 'grpc.max_connection_age_grace_ms': 5, 'grpc.max_connection_idle_ms': 6_000 },
      });
      expect(options).toEqual(expected);
    },
  );

  it('returns options that the grpc-js Server applies', () => {
    const server = new Server(forGrpcJs({ channelOptions: { 'grpc.max_concurrent_streams': 5 } }));
    expect(Reflect.get(server, 'channelzEnabled')).toBe(false);
    expect(Reflect.get(server, 'commonServerOptions')).toMatchObject({ settings: { maxConcurrentStreams: 5 } });
    server.forceShutdown();
  });
});
