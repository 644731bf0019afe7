import type { Resolver } from 'node:dns/promises';
import { serviceConfigAttribute } from '../../policy/service-config/choose-service-config.js';

/** Node's own bounds, 5 s and four tries, would hold the first answer for longer than a start may take. The second try takes twice. */
export const DNS_QUERY = { timeout: 1_000, tries: 2 };

/** Where DNS has the service config of `host` (gRFC A2). */
export function serviceConfigName(host: string): string {
  return `_grpc_config.${host}`;
}

/**
 * The service config choices that a TXT record holds; undefined where there is none, which no such name is as well.
 *
 * @throws the error of a name server that does not answer
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
