import { isObservable } from 'rxjs';
import { isMetadataLike, joinMetadata, NO_METADATA, shared } from '../../channel/wire/call-metadata.js';
import { metadataEntryProblem } from '../../channel/wire/metadata-input.js';
import type { MethodDescriptor } from '../../call/method.js';
import { grpcJsProblem } from '../../channel/quirks/grpc-js-version.js';
import type { Propagation } from '../../call/inbound-call.js';
import type { ConfigurationProblem } from '../../errors/grpc-configuration-error.js';
import { maskAddress } from '../../errors/error-message.js';
import { concurrencyPolicy } from '../../policy/concurrency/permit-queue.js';
import { parseServiceConfig } from '../../policy/service-config/parse-service-config.js';
import type { ParsedServiceConfig } from '../../policy/service-config/service-config.js';
import { CallHooks, type InterceptorSource, metadataSource } from '../interceptors/call-hooks.js';
import type { GrpcClientDefaults, GrpcClientSettings, PropagationOptions } from './client-options.js';
import type { Services } from './contract.js';
import { pathOf } from '../../policy/options/describe-value.js';
import { joinSettings } from './join-settings.js';
import { LiveServiceConfig } from './live-service-config.js';
import { unreadable } from './copy-options.js';
import { resolvePropagation } from './propagation-settings.js';
import {
  channelOptionProblems,
  resolveLoadBalancing,
  interceptorsOf,
  openCredentials,
  resolveBalancing,
  resolveChannelSettings,
  type ChannelSettingsDependencies,
} from './resolve-channel-settings.js';
import { patternProblems } from './method-patterns.js';
import { resolveMethodPolicies, resolvePolicy, type MethodPolicyInput } from './resolve-method-policies.js';
import type { ResolvedClientSettings } from './resolved-settings.js';
import { clientDefaultsSchema, clientSettingsSchema } from './settings-schema.js';
import { balancingProblems, settingsWarnings } from './settings-and-service-config.js';
import { optionProblems } from '../../policy/options/option-problems.js';
import { isObject } from '../../policy/options/option-schemas.js';

/** Input for resolving the settings of one client. */
export interface SettingsInput {
  /** Name of the client in logs and errors. */
  readonly name: string;
  /** Path of these settings in configuration problems, such as 'clients.orders'. */
  readonly path: string;
  readonly services: Services;
  /** Result of `copyOptions`; not validated yet. */
  readonly settings: unknown;
  /** Defaults of forRoot; already validated. */
  readonly defaults: GrpcClientDefaults | undefined;
  /** `propagate` of forRoot; already validated. */
  readonly propagate?: PropagationOptions | undefined;
  readonly droppedMetadata?: Propagation['dropped'];
  /** Resolves interceptor classes. If absent, the calls of a client with an interceptor class fail. */
  readonly interceptorOf?: InterceptorSource | undefined;
}

/** Complete settings, or the problems found. */
export type SettingsResolution =
  | { readonly ok: true; readonly settings: ResolvedClientSettings; readonly warnings: readonly string[] }
  | { readonly ok: false; readonly problems: readonly ConfigurationProblem[] };

/** Returns the problems of settings, except problems of the service config and problems that only the contract or the TLS files reveal. */
export function settingsProblems(settings: unknown, path: string): ConfigurationProblem[] {
  const problems = optionProblems(clientSettingsSchema, settings, path);
  return [...problems, ...deeperProblems(uncheckedOptions<GrpcClientSettings>(settings), path, problems)];
}

export function defaultsProblems(defaults: unknown, path: string): ConfigurationProblem[] {
  const problems = optionProblems(clientDefaultsSchema, defaults, path);
  return [...problems, ...deeperProblems(uncheckedOptions<GrpcClientDefaults>(defaults), path, problems)];
}

/** Resolves the settings of one client: merges them with the defaults, validates, completes, and freezes them. */
export function resolveSettings(input: SettingsInput, dependencies: ChannelSettingsDependencies): SettingsResolution {
  const problems: ConfigurationProblem[] = [];
  try {
    return resolveInto(problems, input, dependencies);
  } catch (error) {
    // A value threw when it was used: it has the wrong type, or it is a class instance, which `copyOptions` does not copy.
    return { ok: false, problems: problems.length > 0 ? problems : [unreadable(input.path, error)] };
  }
}

function resolveInto(
  problems: ConfigurationProblem[],
  input: SettingsInput,
  dependencies: ChannelSettingsDependencies,
): SettingsResolution {
  const { path, services } = input;
  const unusable = grpcJsProblem();
  if (unusable !== undefined) return { ok: false, problems: [{ path: '@grpc/grpc-js', message: unusable }] };
  problems.push(...settingsProblems(input.settings, path));
  // `own` is typed without contract keys: `settingsProblems` has already rejected such keys in the settings of a factory.
  const own = uncheckedOptions<GrpcClientSettings>(input.settings);

  const source: unknown = own.serviceConfig;
  let serviceConfig: ParsedServiceConfig | undefined;
  if (source !== undefined && !isObservable(source)) {
    const parsed = parseServiceConfig(source, pathOf(path, 'serviceConfig'));
    if (parsed.ok) serviceConfig = parsed.config;
    else problems.push(...parsed.problems);
  }
  if (serviceConfig !== undefined) problems.push(...balancingProblems(own, serviceConfig, path));
  if (isObject(own.methods)) problems.push(...patternProblems(Object.keys(own.methods), services, path));
  const joined = joinSettings(input.defaults, own);
  // Each client reads its TLS files here. This includes files named in the defaults, because validating the defaults does not open them.
  const opened = problems.some((one) => one.path.startsWith(pathOf(path, 'tls')))
    ? []
    : openCredentials(joined, path, dependencies);
  if (Array.isArray(opened)) problems.push(...(opened as readonly ConfigurationProblem[]));
  if (problems.length > 0 || !('current' in opened)) {
    if ('current' in opened) opened.close();
    return { ok: false, problems };
  }

  const policyInput = (config: ParsedServiceConfig | undefined): MethodPolicyInput => ({
    services,
    methods: own.methods,
    client: joined,
    serviceConfig: config,
  });
  const policies = (config: ParsedServiceConfig | undefined) => resolveMethodPolicies(policyInput(config));
  const balancing = (config: ParsedServiceConfig | undefined) => resolveBalancing(own, joined, config);
  const live = isObservable(source)
    ? new LiveServiceConfig({
        source,
        path: pathOf(path, 'serviceConfig'),
        target: own.url,
        check: (config) => balancingProblems(own, config, path),
        policies,
        balancing,
        clock: dependencies.clock,
        random: dependencies.random,
        warn: (message) => {
          dependencies.report(message, 'service-config');
        },
      })
    : undefined;
  const loadBalancing = resolveLoadBalancing(own, joined, serviceConfig);
  const resolved = policies(serviceConfig);
  const warnings = settingsWarnings({ ...own, loadBalancing }, services, serviceConfig, resolved, isObservable(source));
  const { certificateProblem } = opened;
  if (certificateProblem !== undefined)
    warnings.push(
      `tls.cert: the certificate of this client ${certificateProblem}; servers that check it reject the client`,
    );
  // The server name of the defaults is part of their `tls`, which does not apply if the client has its own `tls` or `credentials`.
  const layers = [{ ...input.defaults, tls: own.tls === undefined ? joined.tls : undefined }, own];
  const channel = resolveChannelSettings(
    joined,
    layers,
    balancing(serviceConfig),
    opened,
    dependencies.random,
    (message) => warnings.push(message),
  );
  return {
    ok: true,
    warnings,
    settings: Object.freeze({
      name: input.name,
      target: maskAddress(own.url),
      services,
      policies: resolved,
      unlistedPolicy: (method: MethodDescriptor) => resolvePolicy(method, policyInput(live?.config ?? serviceConfig)),
      retryThrottling: serviceConfig?.retryThrottling,
      maxConcurrentCalls: concurrencyPolicy(joined.maxConcurrentCalls),
      channel,
      replayBytes: replayBytesOf(joined.channelOptions),
      rejectInvalidMessages: joined.rejectInvalidMessages ?? false,
      trustRefusedStreams: joined.trustRefusedStreams ?? false,
      ...metadataOf(joined.metadata),
      hooks: hooksOf(joined.interceptors, input.interceptorOf),
      propagation: resolvePropagation(input.propagate, joined.propagate, input.droppedMetadata),
      live,
      interceptors: interceptorsOf(joined),
    }),
  };
}

/** Returns the problems that the schema cannot find: conflicts between keys, and invalid values of the right type. */
function deeperProblems(
  settings: GrpcClientDefaults,
  path: string,
  found: readonly ConfigurationProblem[],
): ConfigurationProblem[] {
  const isInvalid = (key: string) => found.some((problem) => problem.path.startsWith(pathOf(path, key)));
  const valid: GrpcClientDefaults = Object.fromEntries(Object.entries(settings).filter(([key]) => !isInvalid(key)));
  const problems = channelOptionProblems(valid, path);
  const { metadata } = valid;
  if (typeof metadata !== 'object' || isMetadataLike(metadata)) return problems;
  for (const [key, value] of Object.entries(metadata)) {
    const problem = value === undefined ? undefined : metadataEntryProblem(key, value);
    if (problem !== undefined) problems.push({ path: pathOf(pathOf(path, 'metadata'), key), message: problem });
  }
  return problems;
}

/**
 * Returns the replay limits: the user's values for grpc-js's retry buffers, or else grpc-js's defaults. Does not use the smaller default
 * that this library sets for grpc-js's own buffer.
 */
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
  return { metadata: metadata === undefined ? undefined : shared(joinMetadata(NO_METADATA, metadata)) };
}

function hooksOf(
  interceptors: GrpcClientDefaults['interceptors'] = [],
  source: InterceptorSource = ({ name }) => {
    throw new Error(`Cannot resolve interceptor class ${name} without a container; pass an instance: new ${name}()`);
  },
): CallHooks | undefined {
  return interceptors.length === 0 ? undefined : new CallHooks([...interceptors], source);
}

/** Casts untrusted options to the type they were checked against. A value that is not an object becomes an empty object. */
function uncheckedOptions<T extends object>(value: unknown): T {
  // The cast is correct only if no problems are found. Otherwise, a value of the wrong type may throw when it is used, and
  // `resolveSettings` returns the problems found so far.
  return (isObject(value) ? value : {}) as T;
}
