import { escapeControls } from '../../errors/error-message.js';
import type { ConfigurationProblem } from '../../errors/grpc-configuration-error.js';
import { describeValue, pathOf, truncate } from '../options/describe-value.js';
import { parseOptions, type ParsedOptions } from '../options/option-problems.js';
import { serviceConfigSchema } from './service-config-schema.js';
import type { ParsedServiceConfig } from './service-config.js';

export type ServiceConfigResult =
  | { readonly ok: true; readonly config: ParsedServiceConfig }
  | { readonly ok: false; readonly problems: readonly ConfigurationProblem[] };

/**
 * Parses a service config, given as an object or as JSON text, by the rules of gRFC A2 and A6
 * (https://github.com/grpc/grpc/blob/master/doc/service_config.md).
 *
 * @param path path of the config in the reported problems, such as 'clients.orders.serviceConfig'
 */
export function parseServiceConfig(value: unknown, path: string): ServiceConfigResult {
  const read = readDocument(value, path, 'a service config as an object or as JSON');
  if (!read.ok) return read;
  const parsed = parseOptions(serviceConfigSchema, read.options, path, () => repeatedNames(read.options, path));
  if (!parsed.ok) return parsed;
  const {
    loadBalancingConfig = [],
    loadBalancingPolicy = '',
    methodConfig,
    retryThrottling,
    healthCheckConfig,
    connectionScaling,
  } = parsed.options;
  // The deprecated key `loadBalancingPolicy` is ignored if `loadBalancingConfig` is set. As in grpc-js, an empty list sets nothing.
  if (loadBalancingConfig.length === 0 && loadBalancingPolicy !== '') {
    loadBalancingConfig.push({ [loadBalancingPolicy.toLowerCase()]: {} });
  }
  const { maxConnectionsPerSubchannel: maxConnectionsPerEndpoint } = connectionScaling ?? {};
  return {
    ok: true,
    config: {
      ...(loadBalancingConfig.length > 0 && { loadBalancingConfig }),
      methodConfig,
      ...(retryThrottling && { retryThrottling }),
      ...(healthCheckConfig && { healthCheckConfig }),
      ...(maxConnectionsPerEndpoint !== undefined && { maxConnectionsPerEndpoint }),
    },
  };
}

/** Returns `value`, or the document that it contains as JSON text. `expected` is part of the message for text that is not JSON. */
export function readDocument(value: unknown, path: string, expected: string): ParsedOptions<unknown> {
  if (typeof value !== 'string') return { ok: true, options: value };
  try {
    return { ok: true, options: JSON.parse(value) };
  } catch (error) {
    const message = `expected ${expected} (${escapeControls(String(error))}), got ${describeValue(value)}`;
    return { ok: false, problems: [{ path, message }] };
  }
}

/** Returns a problem for each repetition of a name. Also reads invalid documents, so that all problems are reported at once. */
function repeatedNames(document: unknown, path: string): ConfigurationProblem[] {
  const problems: ConfigurationProblem[] = [];
  const seen = new Map<string, string>();
  for (const [index, config] of entriesOf(document, 'methodConfig')) {
    for (const [position, name] of entriesOf(config, 'name')) {
      if (typeof name !== 'object' || name === null) continue;
      const scope = ['service', 'method'].map((part): unknown => Reflect.get(name, part) ?? '');
      if (!scope.every((part) => typeof part === 'string')) continue;
      const key = scope.join('/');
      const here = pathOf(pathOf(pathOf(pathOf(path, 'methodConfig'), index), 'name'), position);
      const first = seen.get(key);
      const scopeText = key === '/' ? 'all methods' : escapeControls(truncate(key));
      if (first === undefined) seen.set(key, here);
      else
        problems.push({
          path: here,
          message: `expected a unique name, got ${scopeText} again (first at ${first})`,
        });
    }
  }
  return problems;
}

function entriesOf(value: unknown, key: string): Iterable<readonly [number, unknown]> {
  const list: unknown = typeof value === 'object' && value !== null ? Reflect.get(value, key) : undefined;
  return Array.isArray(list) ? (list as readonly unknown[]).entries() : [];
}
