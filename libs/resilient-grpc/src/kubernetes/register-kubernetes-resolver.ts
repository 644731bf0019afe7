import { experimental } from '../channel/quirks/experimental.js';
import { GrpcConfigurationError } from '../errors/grpc-configuration-error.js';
import { optionProblems } from '../policy/options/option-problems.js';
import { systemClock } from '../time/clock.js';
import { systemRandom } from '../time/random.js';
import { ApiServer, type KubernetesResolverOptions, kubernetesOptionsSchema } from './api-server.js';
import { kubernetesResolverClass, type ResolverDependencies } from './kubernetes-resolver.js';
import { ServiceWatch } from './service-watch.js';

/**
 * Registers the scheme `kubernetes:` with grpc-js. A client with the `url` 'kubernetes:///orders.shop:50051' (service.namespace:port) then
 * sends its calls to the ready pods of the service or, if no pod is ready, to terminating pods that are still serving. Call this function
 * before `ResilientGrpcModule` is configured, for example at the top of the root module's file. The function reads the Kubernetes
 * configuration, but sends no request. The watch of a service starts when a client first connects, which is at its first call by default.
 * The watch stops when all clients that use it are closed or idle. If the function is called again, the new options apply only to clients
 * created afterward.
 *
 * @throws GrpcConfigurationError if an option is invalid, if there is no usable Kubernetes configuration, or if the installed grpc-js
 * cannot register resolvers
 */
export function registerKubernetesResolver(options: KubernetesResolverOptions = {}): void {
  register(options);
}

/** Registers the scheme, and returns the API server that the configuration names. */
export function register(options: KubernetesResolverOptions): ApiServer {
  const problems = optionProblems(kubernetesOptionsSchema, options, 'registerKubernetesResolver');
  if (problems.length > 0) throw new GrpcConfigurationError(problems);
  const { registerResolver } = experimental;
  if (registerResolver === undefined) {
    const message =
      'expected a release that exports experimental.registerResolver, got one that does not; install a tested version';
    throw new GrpcConfigurationError([{ path: '@grpc/grpc-js', message }]);
  }
  const server = new ApiServer(options);
  const { identity, url, namespace } = server;
  if (registered?.identity !== identity) registered = { identity, watchOf: watchesOf(server) };
  const { watchOf } = registered;
  const dependencies = { clock: systemClock, url, namespace, watchOf };
  registerResolver('kubernetes', kubernetesResolverClass(dependencies));
  return server;
}

type WatchOf = ResolverDependencies['watchOf'];

/**
 * The latest registration. Another registration with the same configuration shares its watches, so that each service has one watch per
 * process.
 */
let registered: { readonly identity: string; readonly watchOf: WatchOf } | undefined;

function watchesOf(server: ApiServer): WatchOf {
  const dependencies = { server, clock: systemClock, random: systemRandom };
  const watches = new Map<string, ServiceWatch>();
  return (service, namespace) => {
    const key = `${service}.${namespace}`;
    const watch = watches.get(key) ?? new ServiceWatch({ service, namespace }, dependencies);
    watches.set(key, watch);
    return watch;
  };
}
