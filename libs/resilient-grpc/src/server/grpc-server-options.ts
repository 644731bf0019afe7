import type { ServerOptions } from '@grpc/grpc-js';
import type { ConfigurationProblem } from '../errors/grpc-configuration-error.js';
import { channelValueProblems } from '../client/settings/channel-options-schema.js';
import { describeValue, pathOf } from '../client/settings/describe-value.js';
import {
  DEFAULT_SERVER_OPTIONS,
  type ResilientGrpcServerOptions,
  type ResolvedServerOptions,
} from './server-options.js';

type Given = Partial<ResilientGrpcServerOptions>;

/** From here on grpc-js takes a length for no limit; a timer of more would fire at once. */
export const NO_LIMIT_MS = 2 ** 31 - 1;

/** How Nest's keys of `keepalive` are called by grpc-js, or by nobody there. */
const KEEPALIVE_NAMES = {
  keepaliveTimeMs: 'grpc.keepalive_time_ms',
  keepaliveTimeoutMs: 'grpc.keepalive_timeout_ms',
  keepalivePermitWithoutCalls: 'grpc.keepalive_permit_without_calls',
  http2MaxPingsWithoutData: 'grpc.http2.max_pings_without_data',
  http2MinTimeBetweenPingsMs: 'grpc.http2.min_time_between_pings_ms',
  http2MinPingIntervalWithoutDataMs: 'grpc.http2.min_ping_interval_without_data_ms',
  http2MaxPingStrikes: 'grpc.http2.max_ping_strikes',
} as const;

/** Ours, each with the name under which it may stand in `channelOptions`. */
const ALSO_CHANNEL_OPTIONS = {
  maxConnectionAgeMs: 'grpc.max_connection_age_ms',
  maxConnectionAgeGraceMs: 'grpc.max_connection_age_grace_ms',
  connectionIdleTimeoutMs: 'grpc.max_connection_idle_ms',
  maxConcurrentStreams: 'grpc.max_concurrent_streams',
} as const;

/** Options that grpc-js's server reads as they are, and that it shares with clients. */
const CHECKED_VALUES: readonly string[] = [
  'grpc.enable_channelz',
  'grpc.max_send_message_length',
  'grpc.max_receive_message_length',
  'grpc-node.max_session_memory',
  'grpc-node.flow_control_window',
];

/** Limits of connections, wherever they were given. */
export type ConnectionLimits = Readonly<Record<keyof typeof ALSO_CHANNEL_OPTIONS, number | undefined>>;

/** Limits of connections: ours, or the same under grpc-js's names. There they are numbers of any size, and some mean none. */
export function connectionLimits(options: Given): ConnectionLimits {
  const limitOf = (key: keyof ConnectionLimits) => options[key] ?? numberOf(options, ALSO_CHANNEL_OPTIONS[key]);
  const lengthOf = (key: keyof ConnectionLimits) => {
    const length = limitOf(key);
    return length === undefined || length >= NO_LIMIT_MS ? undefined : length;
  };
  return {
    maxConnectionAgeMs: lengthOf('maxConnectionAgeMs'),
    maxConnectionAgeGraceMs: lengthOf('maxConnectionAgeGraceMs'),
    connectionIdleTimeoutMs: lengthOf('connectionIdleTimeoutMs'),
    maxConcurrentStreams: limitOf('maxConcurrentStreams'),
  };
}

/**
 * Options of grpc-js's server: what was given, and where nothing was, pings that find peers that are gone. Age and idle time of
 * connections are not among them: ours are told of, and what outlasts a grace is ended by a status and not by a lost connection.
 */
export function grpcServerOptions(resolved: ResolvedServerOptions): ServerOptions {
  const { nest } = resolved;
  const given: Readonly<Record<string, unknown>> = nest.channelOptions ?? {};
  const options: Record<string, unknown> = {
    // channelz costs per call, and nobody reads it who has not added its service, and may then set it to 1.
    'grpc.enable_channelz': 0,
    'grpc.keepalive_time_ms': DEFAULT_SERVER_OPTIONS.keepaliveTimeMs,
    'grpc.keepalive_timeout_ms': DEFAULT_SERVER_OPTIONS.keepaliveTimeoutMs,
    ...defined(given),
    ...defined(keepaliveOptions(nest)),
    // As Nest does, 0 says nothing.
    ...defined({
      'grpc.max_send_message_length': nest.maxSendMessageLength || undefined,
      'grpc.max_receive_message_length': nest.maxReceiveMessageLength || undefined,
      'grpc.max_metadata_size': nest.maxMetadataSize || undefined,
      'grpc.max_concurrent_streams': resolved.maxConcurrentStreams,
    }),
  };
  return Object.fromEntries(Object.entries(options).filter(([key]) => !OURS_ALONE.has(key)));
}

const OURS_ALONE: ReadonlySet<string> = new Set([
  ALSO_CHANNEL_OPTIONS.maxConnectionAgeMs,
  ALSO_CHANNEL_OPTIONS.maxConnectionAgeGraceMs,
  ALSO_CHANNEL_OPTIONS.connectionIdleTimeoutMs,
]);

/** What is wrong in `channelOptions`, and what is said twice, and differently. */
export function channelOptionProblems(options: Given, path: string): ConfigurationProblem[] {
  const given: Readonly<Record<string, unknown>> = options.channelOptions ?? {};
  const at = pathOf(path, 'channelOptions');
  const problems: ConfigurationProblem[] = channelValueProblems(given, at, CHECKED_VALUES);
  const say = (key: string, message: string) => problems.push({ path: pathOf(at, key), message });
  for (const [ours, theirs] of Object.entries(ALSO_CHANNEL_OPTIONS)) {
    const value = given[theirs];
    const own: unknown = Reflect.get(options, ours);
    if (value === undefined) continue;
    const least = ours === 'maxConnectionAgeGraceMs' ? 0 : 1;
    if (typeof value !== 'number' || !(value >= least)) {
      say(theirs, `expected a number of ${String(least)} or more, got ${describeValue(value)}; write \`${ours}\``);
    } else if (own !== undefined && own !== value) {
      say(theirs, saidTwice(ours, own, value));
    }
  }
  const { keepalive = {} } = options;
  for (const [ours, theirs] of Object.entries(KEEPALIVE_NAMES)) {
    const own: unknown = Reflect.get(keepalive, ours);
    const value = given[theirs];
    if (own === undefined || value === undefined || Number(own) === value) continue;
    say(theirs, saidTwice(`keepalive.${ours}`, own, value));
  }
  const interceptors = given['interceptors'];
  if (interceptors !== undefined && !(Array.isArray(interceptors) && interceptors.every(isFunction))) {
    const found = describeValue(interceptors);
    say('interceptors', `expected an array of grpc-js's interceptors, which are functions, got ${found}`);
  }
  return problems;
}

/** What Nest hands on and grpc-js's server does not know. */
export function ignoredByGrpcJs({ keepalive = {}, maxMetadataSize }: Given): readonly string[] {
  const given = Object.entries(keepalive as Readonly<Record<string, unknown>>);
  const pings = given
    .filter(([key, value]) => value !== undefined && key.startsWith('http2'))
    .map(([key]) => `keepalive.${key}`);
  return maxMetadataSize ? ['maxMetadataSize', ...pings] : pings;
}

function saidTwice(ours: string, own: unknown, value: unknown): string {
  return `expected what \`${ours}\` says, ${describeValue(own)}, or nothing, got ${describeValue(value)}; keep \`${ours}\``;
}

function keepaliveOptions({ keepalive = {} }: ResolvedServerOptions['nest']): Record<string, unknown> {
  const options: Record<string, unknown> = {};
  for (const [ours, theirs] of Object.entries(KEEPALIVE_NAMES)) {
    const value: unknown = Reflect.get(keepalive, ours);
    // true and false are what some write for 1 and 0; more than a timer can hold is off, or as long as it can.
    if (value !== undefined) options[theirs] = Math.min(Number(value), NO_LIMIT_MS);
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

function defined(options: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}
