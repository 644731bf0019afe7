import type { ListenOptions } from 'node:net';
import type { experimental as GrpcJs } from '@grpc/grpc-js';
import { targetUri } from '../../channel/connection/address-key.js';
import { experimental } from '../../channel/quirks/experimental.js';

const RESOLVER_OPTIONS = { 'grpc.service_config_disable_resolution': 1 };

/**
 * Returns the addresses of `target`, a host with a port, or a target of grpc-js such as 'unix:/run/orders.sock'.
 *
 * @throws Error if the target cannot be resolved
 */
export async function bindAddresses(target: string): Promise<readonly ListenOptions[]> {
  let resolver: GrpcJs.Resolver | undefined;
  try {
    return await new Promise((resolve, reject) => {
      resolver = resolverOf(target, (endpoints) => {
        if (endpoints.ok) resolve(endpoints.value.flatMap(({ addresses }) => addresses));
        else reject(new Error(endpoints.error.details));
        return true;
      });
      resolver.updateResolution();
    });
  } finally {
    resolver?.destroy();
  }
}

function resolverOf(target: string, listener: GrpcJs.ResolverListener): GrpcJs.Resolver {
  const { createResolver } = experimental;
  if (createResolver === undefined) throw new Error('this version of @grpc/grpc-js does not export createResolver');
  const uri = targetUri(target);
  if (uri.scheme !== undefined) {
    try {
      return createResolver(uri, listener, RESOLVER_OPTIONS);
    } catch {
      // What looks like a scheme is the name of a host.
    }
  }
  return createResolver({ scheme: 'dns', path: target }, listener, RESOLVER_OPTIONS);
}
