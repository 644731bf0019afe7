import type { ServerOptions } from '@grpc/grpc-js';
import type { ConfigurationProblem } from '../errors/grpc-configuration-error.js';
import { channelValueProblems } from '../client/settings/channel-options-schema.js';
import { defined, describeValue, pathOf } from '../policy/options/describe-value.js';
import { MAX_TIMER_MS } from '../time/clock.js';
import type { ConnectionAges } from './grpc/socket-connections.js';
import type { ResilientGrpcServerOptions, ResolvedServerOptions } from './server-options.js';

type Given = Partial<ResilientGrpcServerOptions>;

/** Channel options for Nest's `keepalive` keys; grpc-js does not support all of them. */
const KEEPALIVE_NAMES = {
  keepaliveTimeMs: 'grpc.keepalive_time_ms',
  keepaliveTimeoutMs: 'grpc.keepalive_timeout_ms',
  keepalivePermitWithoutCalls: 'grpc.keepalive_permit_without_calls',
  http2MaxPingsWithoutData: 'grpc.http2.max_pings_without_data',
  http2MinTimeBetweenPingsMs: 'grpc.http2.min_time_between_pings_ms',
  http2MinPingIntervalWithoutDataMs: 'grpc.http2.min_ping_interval_without_data_ms',
  http2MaxPingStrikes: 'grpc.http2.max_ping_strikes',
} as const;

/** Keys of `connections`, each with the equivalent key in `channelOptions`. */
const CHANNEL_EQUIVALENTS = {
  maxAgeMs: 'grpc.max_connection_age_ms',
  graceMs: 'grpc.max_connection_age_grace_ms',
  idleMs: 'grpc.max_connection_idle_ms',
} as const;

/** Channel options that clients also have, and that grpc-js's server does not validate. */
const CHECKED_CHANNEL_OPTIONS: readonly string[] = [
  'grpc.enable_channelz',
  'grpc.max_concurrent_streams',
  'grpc.max_send_message_length',
  'grpc.max_receive_message_length',
  'grpc-node.max_session_memory',
  'grpc-node.flow_control_window',
];

/** Returns the limits of connections, given in `connections` or as channel options; very large durations mean no limit. */
export function connectionLimits(options: Given): ConnectionAges {
  const durationOf = (key: keyof typeof CHANNEL_EQUIVALENTS) => {
    const durationMs = options.connections?.[key] ?? numberOf(options, CHANNEL_EQUIVALENTS[key]);
    return durationMs === undefined || durationMs >= MAX_TIMER_MS ? undefined : durationMs;
  };
  return {
    maxConnectionAgeMs: durationOf('maxAgeMs'),
    maxConnectionAgeGraceMs: durationOf('graceMs'),
    connectionIdleTimeoutMs: durationOf('idleMs'),
  };
}

/**
 * Returns the options of grpc-js's server: the given options. On grpc-js's transport, they also contain the ages
 * and the idle time of connections, which this library otherwise enforces itself.
 */
export function grpcServerOptions(resolved: ResolvedServerOptions): ServerOptions {
  const { nest, transport } = resolved;
  const given: Readonly<Record<string, unknown>> = nest.channelOptions ?? {};
  const options = {
    // Channelz has no meaning on the transport of this library. Without it, forceShutdown() of grpc-js's server misses connections.
    ...(transport === 'socket' && { 'grpc.enable_channelz': 0 }),
    ...defined(given),
    ...defined(keepaliveOptions(nest)),
    // As in Nest, 0 means not set.
    ...defined({
      'grpc.max_send_message_length': nest.maxSendMessageLength || undefined,
      'grpc.max_receive_message_length': nest.maxReceiveMessageLength || undefined,
      'grpc.max_metadata_size': nest.maxMetadataSize || undefined,
    }),
  };
  const { maxConnectionAgeMs, maxConnectionAgeGraceMs, connectionIdleTimeoutMs } = resolved;
  const isOnGrpcJs = transport === 'grpc-js';
  // All values are overwritten, because very large ones mean no limit.
  return defined({
    ...options,
    [CHANNEL_EQUIVALENTS.maxAgeMs]: isOnGrpcJs ? maxConnectionAgeMs : undefined,
    [CHANNEL_EQUIVALENTS.graceMs]: isOnGrpcJs ? maxConnectionAgeGraceMs : undefined,
    [CHANNEL_EQUIVALENTS.idleMs]: isOnGrpcJs ? connectionIdleTimeoutMs : undefined,
  });
}

/** Returns the problems of `channelOptions`. The options next to it override its keys, as in Nest. */
export function channelOptionProblems(options: Given, path: string): ConfigurationProblem[] {
  const given: Readonly<Record<string, unknown>> = options.channelOptions ?? {};
  const at = pathOf(path, 'channelOptions');
  const problems: ConfigurationProblem[] = channelValueProblems(given, at, CHECKED_CHANNEL_OPTIONS);
  const add = (key: string, message: string) => problems.push({ path: pathOf(at, key), message });
  for (const [key, channelKey] of Object.entries(CHANNEL_EQUIVALENTS)) {
    const value = given[channelKey];
    const min = key === 'graceMs' ? 0 : 1;
    if (value !== undefined && !(typeof value === 'number' && value >= min))
      add(channelKey, `expected a number of ${String(min)} or more, got ${describeValue(value)}`);
  }
  const interceptors = given['interceptors'];
  if (interceptors !== undefined && !(Array.isArray(interceptors) && interceptors.every(isFunction))) {
    const found = describeValue(interceptors);
    add('interceptors', `expected an array of grpc-js interceptors (functions), got ${found}`);
  }
  return problems;
}

/** Returns the options that Nest forwards and that have no effect on servers on `transport`. */
export function ignoredOptions(
  { keepalive = {}, maxMetadataSize }: Given,
  transport: ResolvedServerOptions['transport'],
): readonly string[] {
  const given = Object.entries(keepalive as Readonly<Record<string, unknown>>);
  const pings = given
    .filter(([key, value]) => value !== undefined && (key.startsWith('http2') || key === 'keepalivePermitWithoutCalls'))
    .map(([key]) => `keepalive.${key}`);
  return maxMetadataSize && transport === 'grpc-js' ? ['maxMetadataSize', ...pings] : pings;
}

function keepaliveOptions({ keepalive = {} }: ResolvedServerOptions['nest']): Record<string, unknown> {
  const options: Record<string, unknown> = {};
  for (const [key, channelKey] of Object.entries(KEEPALIVE_NAMES)) {
    const value: unknown = Reflect.get(keepalive, key);
    // Some users write true and false for 1 and 0. Times are clamped to the timer maximum; a ping interval of that length means no pings.
    if (value !== undefined) options[channelKey] = Math.min(Number(value), MAX_TIMER_MS);
  }
  return options;
}

function numberOf({ channelOptions }: Given, key: string): number | undefined {
  const value: unknown = channelOptions?.[key];
  return typeof value === 'number' ? value : undefined;
}

function isFunction(value: unknown): boolean {
  return typeof value === 'function';
}
