import type { ChannelOptions, Interceptor } from '@grpc/grpc-js';
import {
  insecureCredentials,
  isDnsName,
  isSecure,
  loadBalancingProblem,
  policyNameOf,
} from '../../channel/channel-checks.js';
import type { BalancingSettings, ChannelSettings, CredentialsSource } from '../../channel/channel-settings.js';
import { openTlsCredentials, type TlsDependencies } from '../../channel/tls/tls-credentials.js';
import { TLS_PARTS, tlsPaths } from '../../channel/tls/tls-material.js';
import { hasForeignResolver, hasLibraryResolver } from '../../channel/quirks/library-resolver.js';
import type { Transport } from '../../call/method.js';
import type { ConfigurationProblem } from '../../errors/grpc-configuration-error.js';
import { maskAddress } from '../../errors/error-message.js';
import { LEAST_REQUEST_POLICY_NAME } from '../../policy/balancing/least-request.js';
import { doctorCommand, type DoctorTls } from '../../policy/connect-failure/connect-failures.js';
import { DEFAULT_EJECTION } from '../../policy/ejection/ejection-policy.js';
import { DEFAULT_RELEASE_POLICY } from '../../policy/queue-release/release-pace.js';
import { GRPC_JS_MAX_BACKOFF_MS, MAX_BACKOFF_MS } from '../../policy/reconnect/reconnect-times.js';
import type { ParsedServiceConfig } from '../../policy/service-config/service-config.js';
import { MAX_TIMER_MS } from '../../time/clock.js';
import { jitter, type Random } from '../../time/random.js';
import {
  DEFAULT_CLIENT_SETTINGS,
  MIN_KEEPALIVE_TIME_MS,
  OUTAGE_GRACE_JITTER,
  type GrpcClientDefaults,
  type GrpcClientSettings,
} from './client-options.js';
import { channelValueProblems } from './channel-options-schema.js';
import { defined, describeValue, pathOf, problemMessage } from '../../policy/options/describe-value.js';

const { boundGraces, minBoundMs, maxBoundMs } = DEFAULT_RELEASE_POLICY;

type LoadBalancing = ChannelSettings['loadBalancing'];

const DNS_INTERVAL = 'grpc.dns_min_time_between_resolutions_ms';

/** This library's defaults for grpc-js's channel options. */
const DEFAULT_CHANNEL_OPTIONS: ChannelOptions = Object.freeze({
  // channelz adds a cost to each call, and this library does not use the data that channelz collects.
  'grpc.enable_channelz': 0,
  // Each client has its own connections, so that one client's backoff, keepalive, and connection replacement do not affect another client.
  'grpc.use_local_subchannel_pool': 1,
  'grpc.dns_min_time_between_resolutions_ms': 5_000,
  // A TXT record would replace the load-balancing policy, and a malformed record would make every call fail.
  'grpc.service_config_disable_resolution': 1,
  'grpc.max_reconnect_backoff_ms': MAX_BACKOFF_MS,
  // Bounds how far requests run ahead of the connection, because grpc-js reports a message as written once it is in this buffer. This
  // library does not resend messages from this buffer. For each message that is sent, grpc-js shifts the whole buffer. With grpc-js's
  // default of 1 MiB, uploads of 16-byte messages are therefore fifteen times slower, and one stalled stream of such messages occupies
  // 30 MiB.
  'grpc.per_rpc_retry_buffer_size': 65_536,
});

/** Options of grpc-js that this library must control, each with the reason and the remedy. */
const OWNED_CHANNEL_OPTIONS: Readonly<Record<string, string>> = {
  'grpc.service_config': "grpc-js's retries would multiply this library's; write the service config as `serviceConfig`",
  'grpc.enable_retries': 'this library controls retries; write methods: { "*": { idempotent: false } } to disable them',
  'grpc.use_local_subchannel_pool': 'each client has its own connections; remove this option',
  'grpc.service_config_disable_resolution':
    "a TXT record would enable grpc-js's retries; remove this option and write `serviceConfig`",
  interceptor_providers: "an option of grpc-js's Client, which is not used; write `interceptors` in channelOptions",
  callInvocationTransformer: "an option of grpc-js's Client, which is not used; write `interceptors` in channelOptions",
  channelOverride: 'each client creates its own channel; remove this option',
  channelFactoryOverride: 'each client creates its own channel; remove this option',
};

/** Options of grpc-js that have no effect on this library's transport, each with the reason. */
const UNUSED_CHANNEL_OPTIONS: Readonly<Record<string, string>> = {
  'grpc-node.max_session_memory': 'memory is bounded by the windows of flow control',
  'grpc.enable_channelz': "grpc-js's channelz does not list the connections of this library; use the dashboard",
};

export function channelOptionProblems(settings: GrpcClientDefaults, path: string): ConfigurationProblem[] {
  const given: Readonly<Record<string, unknown>> = settings.channelOptions ?? {};
  const at = pathOf(path, 'channelOptions');
  const problems: ConfigurationProblem[] = [];
  const add = (key: string, message: string, below = path) => problems.push({ path: pathOf(below, key), message });
  for (const [key, value] of Object.entries(given)) {
    const reason = Object.hasOwn(OWNED_CHANNEL_OPTIONS, key) ? OWNED_CHANNEL_OPTIONS[key] : undefined;
    if (reason !== undefined && value !== undefined) add(key, `cannot be set: ${reason}`, at);
  }
  problems.push(...channelValueProblems(given, at));
  const { interceptors } = given;
  const areFunctions = Array.isArray(interceptors) && interceptors.every((one) => typeof one === 'function');
  if (interceptors !== undefined && !areFunctions) {
    const remedy = 'write [(options, nextCall) => new InterceptingCall(nextCall(options))]';
    const found = describeValue(interceptors);
    add('interceptors', `expected an array of grpc-js interceptor functions, got ${found}; ${remedy}`, at);
  }
  if (Array.isArray(settings.loadBalancing)) {
    // The schema has validated that an array here contains objects.
    const message = loadBalancingProblem(settings.loadBalancing as LoadBalancing);
    if (message !== undefined) add('loadBalancing', message);
  }
  if (settings.tls !== undefined && settings.credentials !== undefined) {
    add('tls', 'expected tls or credentials, got both; keep one');
  }
  return problems;
}

export interface ChannelSettingsDependencies extends TlsDependencies {
  /** Reports new TLS files that cannot be used, and problems with an Observable service config. */
  readonly report: (message: string, event: 'tls-reload' | 'service-config') => void;
  readonly random: Random;
}

export function openCredentials(
  settings: GrpcClientDefaults,
  path: string,
  dependencies: TlsDependencies,
): CredentialsSource | readonly ConfigurationProblem[] {
  if (settings.tls === undefined) return fixedCredentials(settings.credentials ?? insecureCredentials());
  const opened = openTlsCredentials(settings.tls, dependencies);
  if (opened.ok) return opened.credentials;
  const at = pathOf(path, 'tls');
  return opened.problems.map(({ key, message }) => ({ path: pathOf(at, key), message }));
}

/**
 * Returns the channel settings that depend on the service config.
 *
 * @param own the client's options
 * @param joined the client's options, completed with the defaults of the module
 * @param config the service config; it overrides the defaults of the module, and the client's options override it
 */
export function resolveBalancing(
  own: GrpcClientSettings,
  joined: GrpcClientSettings,
  config: ParsedServiceConfig | undefined,
): BalancingSettings {
  const value = resolveLoadBalancing(own, joined, config);
  return {
    loadBalancing: loadBalancingOf(value),
    dnsRefreshMs: dnsRefreshOf(joined, balancingPolicyOf(value)),
    healthService: config?.healthCheckConfig?.serviceName,
    maxConnectionsPerEndpoint: config?.maxConnectionsPerEndpoint ?? 1,
  };
}

/** Returns the load balancing from the client's options, from its service config, or from the defaults, in this order of precedence. */
export function resolveLoadBalancing(
  own: GrpcClientSettings,
  joined: GrpcClientSettings,
  config: ParsedServiceConfig | undefined,
): NonNullable<GrpcClientDefaults['loadBalancing']> {
  return own.loadBalancing ?? config?.loadBalancingConfig ?? joined.loadBalancing ?? defaultLoadBalancing(own.url);
}

/** Returns the interval of periodic lookups in milliseconds; `undefined` if they are off, or if the target is not a DNS name. */
function dnsRefreshOf({ url, dnsRefreshMs, channelOptions }: GrpcClientSettings, policy: string | undefined) {
  const isOn = dnsRefreshMs ?? policy !== 'pick_first';
  if (isOn === false || !isDnsName(url)) return undefined;
  const refreshMs = dnsRefreshMs || DEFAULT_CLIENT_SETTINGS.dnsRefreshMs;
  // Raises the interval to the minimum that `channelOptions` sets, because grpc-js would delay more frequent lookups.
  return Math.max(refreshMs, channelOptions?.[DNS_INTERVAL] ?? 0);
}

/** Returns the transport that the environment sets for all clients and servers of the process; `undefined` if it sets none. */
export function transportOfProcess(warn: (message: string) => void): Transport | undefined {
  const name = process.env['NESTJS_RESILIENT_GRPC_TRANSPORT'] || undefined;
  if (name === undefined || name === 'socket' || name === 'grpc-js') return name;
  warn(`NESTJS_RESILIENT_GRPC_TRANSPORT has no effect: ${problemMessage("'socket' or 'grpc-js'", name)}`);
  return undefined;
}

/**
 * @param settings the client's options, completed with the defaults of the module
 * @param layers the options for grpc-js's channel: the defaults of the module, which the client's options override
 */
export function resolveChannelSettings(
  settings: GrpcClientSettings,
  layers: readonly GrpcClientDefaults[],
  balancing: BalancingSettings,
  credentials: CredentialsSource,
  random: Random,
  warn: (message: string) => void,
): ChannelSettings {
  const {
    outageGraceMs = DEFAULT_CLIENT_SETTINGS.outageGraceMs,
    maxWaitingCalls = DEFAULT_CLIENT_SETTINGS.maxWaitingCalls,
    connections = {},
  } = settings;
  const isOnGrpcJs = transportOfProcess(warn) === 'grpc-js' || hasForeignResolver(settings.url);
  const transport = isOnGrpcJs ? 'grpc-js' : (settings.transport ?? 'socket');
  const { warm = false, connectTimeoutMs = DEFAULT_CLIENT_SETTINGS.connectTimeoutMs, maxAgeMs } = connections;
  return Object.freeze({
    target: settings.url,
    transport,
    doctorCommand: doctorCommand(
      maskAddress(settings.url),
      doctorTlsOf(settings, credentials),
      balancing.healthService,
    ),
    credentials,
    outageGraceMs: Math.round(jitter(outageGraceMs, OUTAGE_GRACE_JITTER, random)),
    releaseWithinMs: Math.min(Math.max(outageGraceMs * boundGraces, minBoundMs), maxBoundMs),
    maxWaitingCalls,
    maxWaitingBytes: DEFAULT_CLIENT_SETTINGS.maxWaitingBytes,
    connection: warm ? 'warm' : 'on-demand',
    ...balancing,
    connectTimeoutMs,
    maxConnectionAgeMs: maxAgeMs,
    ejection: settings.ejectUnhealthy === true ? DEFAULT_EJECTION : undefined,
    channelOptions: Object.freeze(grpcOptions(settings, layers, transport, warn)),
  });
}

/**
 * Returns the TLS options in the form that the doctor accepts; `undefined` if the client does not use TLS. PEM text and buffers appear as
 * FILE.
 */
function doctorTlsOf({ tls }: GrpcClientSettings, { current }: CredentialsSource): DoctorTls | undefined {
  if (tls === undefined) return isSecure(current) ? {} : undefined;
  const given = TLS_PARTS.filter((part) => tls[part] !== undefined).map((part) => [part, 'FILE'] as const);
  return { ...Object.fromEntries([...given, ...tlsPaths(tls)]), serverName: tls.serverName };
}

/** Returns the grpc-js interceptors that users of Nest pass in `channelOptions`. */
export function interceptorsOf(settings: GrpcClientDefaults): readonly Interceptor[] {
  const interceptors: unknown = settings.channelOptions?.['interceptors'];
  // Validated to be an array of functions.
  return Object.freeze(Array.isArray(interceptors) ? [...(interceptors as readonly Interceptor[])] : []);
}

/**
 * Returns the default load-balancing policy. It is round_robin for a `kubernetes:` target, because pick_first would leave all pods except
 * one idle.
 */
function defaultLoadBalancing(url: string): 'pick_first' | 'round_robin' {
  return hasLibraryResolver(url) ? 'round_robin' : DEFAULT_CLIENT_SETTINGS.loadBalancing;
}

/** Returns the name of the policy that selects the endpoints; `undefined` if grpc-js supports no policy in `value`. */
export function balancingPolicyOf(value: NonNullable<GrpcClientDefaults['loadBalancing']>): string | undefined {
  return policyNameOf(loadBalancingOf(value));
}

function loadBalancingOf(value: NonNullable<GrpcClientDefaults['loadBalancing']>): LoadBalancing {
  if (value === 'least_request') return [{ [LEAST_REQUEST_POLICY_NAME]: {} }];
  return typeof value === 'string' ? [{ [value]: {} }] : value;
}

function grpcOptions(
  settings: GrpcClientSettings,
  layers: readonly GrpcClientDefaults[],
  transport: Transport,
  warn: (message: string) => void,
): ChannelOptions {
  const { dnsRefreshMs } = settings;
  const given = settings.channelOptions ?? {};
  const { interceptors: _, ...own } = Object.assign({}, ...layers.map(optionsOfLayer)) as ChannelOptions;
  const options: ChannelOptions = {
    ...DEFAULT_CHANNEL_OPTIONS,
    // Nothing else makes grpc-js's channel reconnect earlier, and each client draws its first backoff for life.
    ...(transport === 'grpc-js' && { 'grpc.max_reconnect_backoff_ms': GRPC_JS_MAX_BACKOFF_MS }),
    // Disables the HTTP proxy for targets that this library resolves. Otherwise, grpc-js would replace the target with the proxy from the
    // environment, and the proxy would resolve the name.
    ...(hasLibraryResolver(settings.url) && { 'grpc.enable_http_proxy': 0 }),
    'grpc.client_idle_timeout_ms': DEFAULT_CLIENT_SETTINGS.idleMs,
    // The library decides on each resend. grpc-js would also resend streams that the server reset with REFUSED_STREAM, but proxies send
    // this code for processed requests, too, and it would follow the retry policies of a control plane.
    'grpc.enable_retries': 0,
    ...(dnsRefreshMs ? { [DNS_INTERVAL]: Math.min(dnsRefreshMs, DEFAULT_CLIENT_SETTINGS.dnsRefreshMs) } : {}),
    ...own,
  };
  for (const [key, reason] of Object.entries(UNUSED_CHANNEL_OPTIONS))
    if (transport === 'socket' && given[key]) warn(`channelOptions['${key}'] has no effect: ${reason}`);
  const pings = settings.keepalive?.keepaliveTimeMs;
  const isRaised = pings !== undefined && pings > 0 && pings < MIN_KEEPALIVE_TIME_MS;
  if (isRaised && options['grpc.keepalive_time_ms'] === MIN_KEEPALIVE_TIME_MS) {
    warn(
      `keepaliveTimeMs was raised from ${String(pings)} to ${String(MIN_KEEPALIVE_TIME_MS)}; servers reject faster pings with too_many_pings`,
    );
  }
  return options;
}

/** Returns the options for grpc-js's channel. As in Nest's client, options next to `channelOptions`, such as `keepalive`, override its keys. */
function optionsOfLayer(settings: GrpcClientDefaults): ChannelOptions {
  const { keepaliveTimeMs, keepaliveTimeoutMs, keepalivePermitWithoutCalls: permit } = settings.keepalive ?? {};
  return defined({
    ...settings.channelOptions,
    ...defined({
      'grpc.client_idle_timeout_ms': settings.connections?.idleMs,
      // Limits the interval to 24 days (in effect, no pings), because Node would fire a longer timer immediately.
      'grpc.keepalive_time_ms':
        keepaliveTimeMs && Math.min(Math.max(keepaliveTimeMs, MIN_KEEPALIVE_TIME_MS), MAX_TIMER_MS),
      'grpc.keepalive_timeout_ms': keepaliveTimeoutMs,
      'grpc.keepalive_permit_without_calls': permit === undefined ? undefined : permit ? 1 : 0,
      // As in Nest, 0 means not set.
      'grpc.max_send_message_length': settings.maxSendMessageLength || undefined,
      'grpc.max_receive_message_length': settings.maxReceiveMessageLength || undefined,
      'grpc.ssl_target_name_override': settings.tls?.serverName,
    }),
  });
}

function fixedCredentials(current: CredentialsSource['current']): CredentialsSource {
  return { current, watch: () => () => undefined, close: () => undefined };
}
