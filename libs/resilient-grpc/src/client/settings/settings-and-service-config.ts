import { lacksPort } from '../../channel/channel-checks.js';
import type { ConfigurationProblem } from '../../errors/grpc-configuration-error.js';
import { concurrencyPolicy } from '../../policy/concurrency/permit-queue.js';
import type { ParsedServiceConfig } from '../../policy/service-config/service-config.js';
import type { GrpcClientSettings } from './client-options.js';
import { type Services, shortName } from './contract.js';
import { pathOf, truncate } from '../../policy/options/describe-value.js';
import { balancingPolicyOf, channelOptionProblems } from './resolve-channel-settings.js';
import { optionsByPattern } from './method-patterns.js';
import { canHedge, type ResolvedMethodPolicy } from './resolve-method-policies.js';

/** Maximum number of warnings about one service config. */
const MAX_WARNINGS = 20;

/** Returns the problems of the load balancing in a service config, including a conflict with the client's `loadBalancing`. */
export function balancingProblems(
  own: Pick<GrpcClientSettings, 'loadBalancing'>,
  { loadBalancingConfig }: ParsedServiceConfig,
  path: string,
): ConfigurationProblem[] {
  if (loadBalancingConfig === undefined) return [];
  const at = pathOf(pathOf(path, 'serviceConfig'), 'loadBalancingConfig');
  const problems = channelOptionProblems({ loadBalancing: loadBalancingConfig }, path).map((one) => ({
    ...one,
    path: at,
  }));
  if (own.loadBalancing === undefined) return problems;
  const message = 'expected loadBalancing or serviceConfig.loadBalancingConfig, got both; keep one';
  return [{ path: pathOf(path, 'loadBalancing'), message }, ...problems];
}

/**
 * Returns warnings about valid settings that are probably mistakes.
 *
 * @param settings settings of the client, with the load balancing that applies
 * @param policies policies of the methods, by path
 * @param isLive true if the service config comes from an Observable; `config` is then `undefined`
 */
export function settingsWarnings(
  settings: Pick<GrpcClientSettings, 'url' | 'loadBalancing' | 'ejectUnhealthy' | 'methods'>,
  services: Services,
  config: ParsedServiceConfig | undefined,
  policies: ReadonlyMap<string, ResolvedMethodPolicy>,
  isLive: boolean,
): string[] {
  const warnings = [
    ...(isLive ? [] : endpointWarnings(settings)),
    ...optionWarnings(settings.methods, services, policies, isLive),
    ...methodWarnings(services, config),
  ];
  return lacksPort(settings.url)
    ? [
        `url '${settings.url}' has ${settings.url.includes(',') ? 'an address without a port' : 'no port'}; gRPC uses 443; add the port`,
        ...warnings,
      ]
    : warnings;
}

/**
 * Returns a warning for each `hedge`, and each 'adaptive' `maxConcurrentCalls`, that has no effect on a method. A pattern that ends
 * with '*' causes no warning.
 */
function optionWarnings(
  methods: GrpcClientSettings['methods'],
  services: Services,
  policies: ReadonlyMap<string, ResolvedMethodPolicy>,
  isLive: boolean,
): Iterable<string> {
  // A set, because a pattern without the full name of a service can match methods of several services.
  const warnings = new Set<string>();
  for (const method of [...services.values()].flatMap((all) => [...all.values()])) {
    const { options, from } = optionsByPattern(methods, method.service, method.method);
    const add = (key: keyof typeof from, because: string): void => {
      const pattern = from[key];
      if (pattern === undefined || pattern.endsWith('*')) return;
      warnings.add(`${pathOf('methods', pattern)}.${key} has no effect, because ${because}`);
    };
    const { hedge = false, maxConcurrentCalls } = options;
    if (hedge !== false && !canHedge(method)) add('hedge', 'request streams are not hedged');
    else if (hedge !== false && !isLive && policies.get(method.path)?.safeToRepeat !== true)
      add('hedge', 'the method is not declared safe to repeat; write idempotent: true if it can be repeated safely');
    if (concurrencyPolicy(maxConcurrentCalls)?.maxConcurrent === 'adaptive' && method.kind !== 'unary')
      add('maxConcurrentCalls', "'adaptive' follows the latency of unary calls; write a number");
  }
  return warnings;
}

function endpointWarnings({ loadBalancing, ejectUnhealthy }: Parameters<typeof settingsWarnings>[0]): string[] {
  if (ejectUnhealthy !== true || loadBalancing === undefined || balancingPolicyOf(loadBalancing) !== 'pick_first')
    return [];
  return ["ejectUnhealthy has no effect with pick_first, which uses one endpoint; write loadBalancing: 'round_robin'"];
}

/** Returns warnings about a service config: unknown methods, services without their package, and hedging policies that are not applied. */
export function methodWarnings(services: Services, config: ParsedServiceConfig | undefined): string[] {
  const warnings = new Set<string>();
  for (const { hedging, names } of config?.methodConfig ?? []) {
    for (const { service, method } of names) {
      const methods = services.get(service);
      const descriptor = methods?.get(method);
      // Other unknown services are ignored, because a service config may contain services of other clients.
      const full = methods === undefined ? [...services.keys()].find((one) => shortName(one) === service) : undefined;
      if (full !== undefined)
        warnings.add(`serviceConfig names ${service}, which the contract defines as ${full}; write the full name`);
      else if (methods !== undefined && method !== '' && descriptor === undefined)
        warnings.add(`serviceConfig names ${service}/${truncate(method)}, which the contract does not define`);
      else if (descriptor !== undefined && hedging !== undefined && !canHedge(descriptor))
        warnings.add(`hedgingPolicy of ${service}/${method} is not applied, because request streams are not hedged`);
    }
  }
  return [...warnings].slice(0, MAX_WARNINGS);
}
