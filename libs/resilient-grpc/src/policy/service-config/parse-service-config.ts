import { parseMethodConfig } from './parse-method-config.js';
import { checkBounds, checkLength } from './document-bounds.js';
import { at, cut, type Problem, Problems } from './problem.js';
import { checkKeys, isPresent, readInteger, readList, readObject, readPositive, type Unread } from './read.js';
import type {
  LoadBalancingConfig,
  ParsedMethodConfig,
  ParsedServiceConfig,
  RetryThrottling,
} from './service-config.js';

/** A valid service config, or all problems of an invalid one. */
export type ServiceConfigResult =
  | { readonly ok: true; readonly config: ParsedServiceConfig }
  | { readonly ok: false; readonly problems: readonly Problem[] };

/** Options for parsing a service config. */
export interface ServiceConfigOptions {
  /** Maximum of `maxAttempts`; policies with more attempts are reduced to it. */
  readonly maxAttemptsLimit: number;
}

// healthCheckConfig is accepted but not used, as in grpc-js: documents that are shared with other clients must stay valid.
const KEYS = ['loadBalancingConfig', 'loadBalancingPolicy', 'methodConfig', 'retryThrottling', 'healthCheckConfig'];
const MAX_TOKENS = 1_000;

/**
 * Parses a service config, given as an object or as JSON text, by the rules of gRFC A2 and A6
 * (https://github.com/grpc/grpc/blob/master/doc/service_config.md).
 *
 * @param path path of the config in problems, such as 'clients.orders.serviceConfig'
 */
export function parseServiceConfig(value: unknown, path: string, options: ServiceConfigOptions): ServiceConfigResult {
  const problems = new Problems();
  const json = typeof value === 'string' ? parseJson(value, path, problems) : value;
  if (problems.none) checkBounds(json, path, problems);
  const document = problems.none ? readObject(json, path, problems, 'a service config as an object') : undefined;
  if (!document) return { ok: false, problems: problems.list };

  checkKeys(document, path, problems, KEYS);
  const loadBalancingConfig = parseLoadBalancing(document, path, problems);
  const methodConfig = parseMethodConfigs(document['methodConfig'], at(path, 'methodConfig'), problems, options);
  const retryThrottling = parseThrottling(document['retryThrottling'], at(path, 'retryThrottling'), problems);
  if (!problems.none) return { ok: false, problems: problems.list };
  return {
    ok: true,
    config: {
      ...(loadBalancingConfig && { loadBalancingConfig }),
      methodConfig,
      ...(retryThrottling && { retryThrottling }),
    },
  };
}

function parseJson(text: string, path: string, problems: Problems): unknown {
  if (!checkLength(text, path, problems)) return undefined;
  try {
    return JSON.parse(text);
  } catch (error) {
    problems.add(path, `a service config as an object or as JSON (${String(error)})`, text);
    return undefined;
  }
}

function parseLoadBalancing(document: Unread, path: string, problems: Problems): LoadBalancingConfig | undefined {
  const config = document['loadBalancingConfig'];
  if (isPresent(config)) return parsePolicies(config, at(path, 'loadBalancingConfig'), problems);
  // Deprecated key; it holds only the name of the policy.
  const policy = document['loadBalancingPolicy'];
  if (!isPresent(policy)) return undefined;
  if (typeof policy === 'string' && policy !== '') return [{ [policy.toLowerCase()]: {} }];
  problems.add(at(path, 'loadBalancingPolicy'), 'the name of a policy', policy, '"round_robin"');
  return undefined;
}

function parsePolicies(value: unknown, path: string, problems: Problems): LoadBalancingConfig | undefined {
  const list = readList(value, path, problems, 'a list of policies, such as [{ "round_robin": {} }]');
  return list?.flatMap((entry, index) => {
    const where = at(path, index);
    const policy = readObject(entry, where, problems, 'an object such as { "round_robin": {} }');
    if (!policy) return [];
    if (Object.keys(policy).length !== 1) {
      problems.add(where, 'exactly one key, the name of the policy', policy, 'an entry for each policy');
    }
    for (const [name, config] of Object.entries(policy)) readObject(config, at(where, name), problems);
    return [policy];
  });
}

function parseMethodConfigs(
  value: unknown,
  path: string,
  problems: Problems,
  { maxAttemptsLimit }: ServiceConfigOptions,
): readonly ParsedMethodConfig[] {
  if (!isPresent(value)) return [];
  const list = readList(value, path, problems, 'a list of method configs');
  const configs: ParsedMethodConfig[] = [];
  const seen = new Map<string, string>();
  for (const [index, entry] of (list ?? []).entries()) {
    const where = at(path, index);
    const config = parseMethodConfig(entry, where, problems, maxAttemptsLimit);
    if (!config) continue;
    configs.push(config);
    config.names.forEach((name, position) => {
      const key = `${name.service}/${name.method}`;
      const here = at(at(where, 'name'), position);
      const first = seen.get(key);
      if (first === undefined) seen.set(key, here);
      else problems.say(here, `repeats ${key === '/' ? 'all methods' : cut(key)} from ${first}; write it once`);
    });
  }
  return configs;
}

function parseThrottling(value: unknown, path: string, problems: Problems): RetryThrottling | undefined {
  if (!isPresent(value)) return undefined;
  const throttling = readObject(value, path, problems);
  if (!throttling) return undefined;
  checkKeys(throttling, path, problems, ['maxTokens', 'tokenRatio']);
  const maxTokens = readInteger(throttling['maxTokens'], at(path, 'maxTokens'), problems, 1, MAX_TOKENS);
  const tokenRatio = readPositive(throttling['tokenRatio'], at(path, 'tokenRatio'), problems);
  if (tokenRatio !== undefined && tokenRatio < 0.001) {
    problems.add(at(path, 'tokenRatio'), '0.001 or more, because only three decimals are used', tokenRatio);
  }
  return maxTokens === undefined || tokenRatio === undefined ? undefined : { maxTokens, tokenRatio };
}
