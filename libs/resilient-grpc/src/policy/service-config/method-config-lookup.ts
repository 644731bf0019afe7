import type { ParsedMethodConfig, ParsedServiceConfig } from './service-config.js';

/**
 * Returns the config of a method: the one that names the method, else the one that names its service, else the one for all methods.
 * Configs are not merged (https://github.com/grpc/grpc/blob/master/doc/service_config.md).
 *
 * @param service full name, such as 'orders.v1.Orders'
 */
export function lookupMethodConfig(
  config: ParsedServiceConfig,
  service: string,
  method: string,
): ParsedMethodConfig | undefined {
  return find(config, service, method) ?? find(config, service, '') ?? find(config, '', '');
}

function find(config: ParsedServiceConfig, service: string, method: string): ParsedMethodConfig | undefined {
  return config.methodConfig.find(({ names }) =>
    names.some((name) => name.service === service && name.method === method),
  );
}
