import type { experimental as GrpcJs } from '@grpc/grpc-js';
import type { EndpointWatchSnapshot } from '../../call/connectivity.js';
import { experimental } from './experimental.js';

/**
 * Marks the resolvers of this library. They return all endpoints of a service and no service config. The symbol is global, because copies
 * of the library may share one grpc-js.
 */
export const IS_LIBRARY_RESOLVER = Symbol.for('nestjs-resilient-grpc.resolver');

/**
 * Channel option that holds a `WatchReceiver`. grpc-js passes the options of a channel to its resolver, and does not copy options with this
 * prefix to subchannels.
 */
export const WATCH_OPTION = 'grpc.internal.no_subchannel.nestjs_resilient_grpc.watch';

/**
 * Receives the state of the watch that finds the endpoints of a channel. `toJSON` hides the receiver, because grpc-js writes channel
 * options as JSON when it traces.
 */
export class WatchReceiver {
  constructor(readonly changed: (watch: EndpointWatchSnapshot) => void) {}

  toJSON(): object {
    return {};
  }
}

/**
 * A target with a scheme other than dns, ipv4, or ipv6: 'scheme://authority/path' or 'scheme:path'. Also matches 'host:port', as if the
 * host were a scheme.
 */
const OWN_SCHEME = /^(?!(?:dns|ipv4|ipv6):)([a-z][\w+.-]*):(?:\/\/([^/]*)\/)?(.+)$/i;

/**
 * Creates the resolver of `target` for inspection, and destroys it. Returns `undefined` if `OWN_SCHEME` does not match the target, or if
 * the installed grpc-js lacks `createResolver()`.
 *
 * @throws Error if no resolver is registered for the scheme, or if the resolver rejects the target
 */
export function registeredResolver(target: string): GrpcJs.Resolver | undefined {
  const [, scheme, authority = '', path] = OWN_SCHEME.exec(target) ?? [];
  const { createResolver } = experimental;
  if (scheme === undefined || path === undefined || createResolver === undefined) return undefined;
  const resolver = createResolver({ scheme, authority, path }, () => true, {});
  resolver.destroy();
  return resolver;
}

/** True if a resolver of this library resolves `target`. */
export function hasLibraryResolver(target: string): boolean {
  const resolver = resolverOf(target);
  return resolver !== undefined && IS_LIBRARY_RESOLVER in resolver;
}

/** True if a resolver of the application resolves `target`. Only grpc-js applies the service config that such a resolver may return. */
export function hasForeignResolver(target: string): boolean {
  const resolver = /^unix:/i.test(target) ? undefined : resolverOf(target);
  return resolver !== undefined && !(IS_LIBRARY_RESOLVER in resolver);
}

/** Returns `registeredResolver(target)`; `undefined` if it throws. */
export function resolverOf(target: string): GrpcJs.Resolver | undefined {
  try {
    return registeredResolver(target);
  } catch {
    return undefined;
  }
}
