import type { Resolver } from 'node:dns/promises';
import { serviceConfigAttribute } from '../../policy/service-config/choose-service-config.js';

/**
 * Limits of a query: the timeout in milliseconds, and the number of tries. With Node's defaults, which include four tries, an unresponsive
 * name server could delay the start of a client by half a minute or more.
 */
export const DNS_QUERY = { timeout: 1_000, tries: 2 };

/** Returns the DNS name of the service config of `host` (gRFC A2). */
export function serviceConfigName(host: string): string {
  return `_grpc_config.${host}`;
}

/**
 * Reads the service config choices from a TXT record; returns `undefined` if there is no such record or no such name.
 *
 * @throws the resolver's error for any other failure, such as a name server that does not respond
 */
export async function serviceConfigRecord(resolver: Resolver, name: string): Promise<string | undefined> {
  try {
    return serviceConfigAttribute(await resolver.resolveTxt(name));
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOTFOUND' || code === 'ENODATA') return undefined;
    throw error;
  }
}
