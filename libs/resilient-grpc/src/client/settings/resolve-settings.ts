import { isObservable } from 'rxjs';
import { targetProblem } from '../../channel/channel-checks.js';
import { isMetadataLike, joinMetadata, NO_METADATA } from '../../channel/attempt/call-metadata.js';
import { metadataEntryProblem } from '../../channel/attempt/metadata-input.js';
import { grpcJsProblem } from '../../channel/quirks/grpc-js-version.js';
import type { ConfigurationProblem } from '../../errors/grpc-configuration-error.js';
import { maskAddress } from '../../errors/mask-credentials.js';
import { parseServiceConfig } from '../../policy/service-config/parse-service-config.js';
import type { ParsedServiceConfig } from '../../policy/service-config/service-config.js';
import { CallHooks, type InterceptorSource } from '../interceptors/call-hooks.js';
import { metadataSource } from '../interceptors/metadata-source.js';
import {
  DEFAULT_CLIENT_SETTINGS,
  type GrpcClientDefaults,
  type GrpcClientSettings,
  type PropagationOptions,
} from './client-options.js';
import type { Services } from './contract.js';
import { pathOf } from './describe-value.js';
import { joinSettings } from './join-settings.js';
import { LiveServiceConfig } from './live-service-config.js';
import { unreadable } from './copy-options.js';
import { propagationProblems, resolvePropagation } from './propagation-settings.js';
import {
  channelOptionProblems,
  interceptorsOf,
  loadBalancingOf,
  openCredentials,
  resolveChannelSettings,
  type ChannelSeams,
} from './resolve-channel-settings.js';
import { patternProblems } from './method-patterns.js';
import { circuitBreakerProblems, resolveMethodPolicies } from './resolve-method-policies.js';
import type { ResolvedClientSettings } from './resolved-settings.js';
import { clientDefaultsSchema, clientSettingsSchema } from './settings-schema.js';
import { SETTINGS_KEY_REMEDIES } from './settings-key-remedies.js';
import { balancingProblems, settingsWarnings } from './settings-and-service-config.js';
import { optionProblems } from './validate-options.js';

/** What the settings of one client are resolved from. */
export interface SettingsInput {
  /** The client's name, as logs and errors show it. */
  readonly name: string;
  /** Where these settings stand: 'clients.orders'. */
  readonly path: string;
  readonly services: Services;
  /** As `copyOptions` returned them; not validated yet. */
  readonly settings: unknown;
  /** Of forRoot; validated where they were given. */
  readonly defaults: GrpcClientDefaults | undefined;
  /** Of forRoot; validated as well. */
  readonly propagate?: PropagationOptions | undefined;
  /** Hears whether calls that would be bound to an inbound one found it. */
  readonly inboundNote?: ((found: boolean) => void) | undefined;
  /** Where classes of interceptors are taken from; without it there are none. */
  readonly interceptorOf?: InterceptorSource | undefined;
}

/** Complete settings, or everything that is wrong with them. */
export type SettingsResolution =
  | { readonly ok: true; readonly settings: ResolvedClientSettings; readonly warnings: readonly string[] }
  | { readonly ok: false; readonly problems: readonly ConfigurationProblem[] };

/** Problems of settings that can be told without a contract. */
export function settingsProblems(settings: unknown, path: string): ConfigurationProblem[] {
  const problems = optionProblems(clientSettingsSchema, settings, path, SETTINGS_KEY_REMEDIES);
  const { url, ...rest } = plain<GrpcClientSettings>(settings);
  const problem = typeof url === 'string' ? targetProblem(url) : undefined;
  if (problem !== undefined) problems.push({ path: pathOf(path, 'url'), message: problem });
  return [...problems, ...deeperProblems(rest, path, problems), ...circuitBreakerProblems(rest.methods, path)];
}

/** Problems of `forRoot({ defaults })`. */
export function defaultsProblems(defaults: unknown, path: string): ConfigurationProblem[] {
  const problems = optionProblems(clientDefaultsSchema, defaults, path, SETTINGS_KEY_REMEDIES);
  return [...problems, ...deeperProblems(plain<GrpcClientDefaults>(defaults), path, problems)];
}

/** Resolves the settings of one client: joined with the defaults, validated, completed, frozen. */
export function resolveSettings(input: SettingsInput, seams: ChannelSeams): SettingsResolution {
  const problems: ConfigurationProblem[] = [];
  try {
    return resolveInto(problems, input, seams);
  } catch (error) {
    // An instance of a class, which was not copied, throws where it is used.
    return { ok: false, problems: problems.length > 0 ? problems : [unreadable(input.path, error)] };
  }
}

function resolveInto(problems: ConfigurationProblem[], input: SettingsInput, seams: ChannelSeams): SettingsResolution {
  const { path, services } = input;
  const unusable = grpcJsProblem();
  if (unusable !== undefined) return { ok: false, problems: [{ path: '@grpc/grpc-js', message: unusable }] };
  problems.push(...settingsProblems(input.settings, path));
  // A key of the contract among the settings of a factory is refused above as unknown.
  const own = plain<GrpcClientSettings>(input.settings);
  const limit = attemptsLimit(own.maxAttemptsLimit ?? input.defaults?.maxAttemptsLimit);

  const source: unknown = own.serviceConfig;
  let serviceConfig: ParsedServiceConfig | undefined;
  if (source !== undefined && !isObservable(source)) {
    const parsed = parseServiceConfig(source, pathOf(path, 'serviceConfig'), { maxAttemptsLimit: limit });
    if (parsed.ok) serviceConfig = parsed.config;
    else problems.push(...parsed.problems);
  }
  if (serviceConfig !== undefined) problems.push(...balancingProblems(own, serviceConfig, path));
  if (isObject(own.methods)) problems.push(...patternProblems(Object.keys(own.methods), services, path));
  const joined = joinSettings(input.defaults, own);
  // What a client takes from the defaults was opened for none before: files are read per client.
  const opened = problems.some((one) => one.path.startsWith(pathOf(path, 'tls')))
    ? []
    : openCredentials(joined, path, seams);
  if (Array.isArray(opened)) problems.push(...(opened as readonly ConfigurationProblem[]));
  if (problems.length > 0 || !('current' in opened)) {
    if ('current' in opened) opened.close();
    return { ok: false, problems };
  }

  const warnings = settingsWarnings(own, services, serviceConfig);
  const policies = (config: ParsedServiceConfig | undefined) =>
    resolveMethodPolicies({
      services,
      methods: own.methods,
      timeoutMs: joined.timeoutMs,
      streamIdleTimeoutMs: joined.streamIdleTimeoutMs,
      maxAttemptsLimit: limit,
      serviceConfig: config,
    });
  const live = isObservable(source)
    ? new LiveServiceConfig({
        source,
        path: pathOf(path, 'serviceConfig'),
        target: own.url,
        maxAttemptsLimit: limit,
        check: (config) => balancingProblems(own, config, path),
        policies,
        clock: seams.clock,
        random: seams.random,
        warn: seams.report,
      })
    : undefined;
  const loadBalancing =
    own.loadBalancing ??
    serviceConfig?.loadBalancingConfig ??
    joined.loadBalancing ??
    DEFAULT_CLIENT_SETTINGS.loadBalancing;
  const channel = resolveChannelSettings(joined, loadBalancingOf(loadBalancing), opened, seams.random, (message) =>
    warnings.push(message),
  );
  return {
    ok: true,
    warnings,
    settings: Object.freeze({
      name: input.name,
      target: maskAddress(own.url),
      services,
      policies: policies(serviceConfig),
      retryThrottling: serviceConfig?.retryThrottling,
      maxConcurrentCalls: joined.maxConcurrentCalls,
      maxQueuedCalls: joined.maxQueuedCalls,
      channel,
      replayBytes: replayBytesOf(joined.channelOptions),
      unreadStreamWarningMs: joined.unreadStreamWarningMs ?? DEFAULT_CLIENT_SETTINGS.unreadStreamWarningMs,
      traceStreams: joined.traceStreams ?? false,
      trustRefusedStreams: joined.trustRefusedStreams ?? false,
      ...metadataOf(joined.metadata),
      hooks: hooksOf(joined.interceptors, input.interceptorOf),
      propagation: resolvePropagation(input.propagate, joined.propagate, input.inboundNote),
      live,
      interceptors: interceptorsOf(joined),
    }),
  };
}

/** Rules between keys, and of values that the schema only knows the kind of. */
function deeperProblems(
  settings: GrpcClientDefaults,
  path: string,
  found: readonly ConfigurationProblem[],
): ConfigurationProblem[] {
  const sound = (key: keyof GrpcClientDefaults) => !found.some((problem) => problem.path.startsWith(pathOf(path, key)));
  const { loadBalancing, channelOptions, ...rest } = settings;
  const problems = channelOptionProblems(
    {
      ...rest,
      ...(sound('loadBalancing') ? { loadBalancing } : {}),
      ...(sound('channelOptions') ? { channelOptions } : {}),
    },
    path,
  );
  problems.push(...propagationProblems(settings.propagate, pathOf(path, 'propagate')));
  if (!sound('metadata') || !isObject(settings.metadata) || isMetadataLike(settings.metadata)) return problems;
  for (const [key, value] of Object.entries(settings.metadata)) {
    const problem = value === undefined ? undefined : metadataEntryProblem(key, value);
    if (problem !== undefined) problems.push({ path: pathOf(pathOf(path, 'metadata'), key), message: problem });
  }
  return problems;
}

/** The bounds that grpc-js names for its own buffers, with its defaults: ours for its own are smaller. */
function replayBytesOf(options: GrpcClientDefaults['channelOptions'] = {}): ResolvedClientSettings['replayBytes'] {
  const { 'grpc.per_rpc_retry_buffer_size': perCall = 1 << 20, 'grpc.retry_buffer_size': perClient = 1 << 24 } =
    options;
  return { perCall, perClient };
}

function metadataOf(
  metadata: GrpcClientDefaults['metadata'],
): Pick<ResolvedClientSettings, 'metadata' | 'metadataSource'> {
  if (typeof metadata === 'function')
    return { metadata: undefined, metadataSource: metadataSource(undefined, metadata) };
  return { metadata: metadata === undefined ? undefined : joinMetadata(NO_METADATA, metadata) };
}

function hooksOf(
  interceptors: GrpcClientDefaults['interceptors'] = [],
  source: InterceptorSource = ({ name }) => {
    throw new Error(`There is no container to take ${name} from; give an instance: new ${name}()`);
  },
): CallHooks | undefined {
  return interceptors.length === 0 ? undefined : new CallHooks([...interceptors], source);
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}

/** Untrusted options as the type they were checked against; what is no object counts as empty. */
function plain<T extends object>(value: unknown): T {
  // True only as far as the problems found say so; each use above looks at the kind of what it takes.
  return (isObject(value) ? value : {}) as T;
}

/** A limit that cannot be used is told elsewhere. */
function attemptsLimit(value: unknown): number {
  return typeof value === 'number' && value >= 2 ? value : DEFAULT_CLIENT_SETTINGS.maxAttemptsLimit;
}
