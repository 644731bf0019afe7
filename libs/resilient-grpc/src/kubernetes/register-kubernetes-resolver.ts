import { Metadata, type ChannelOptions, type experimental as types } from '@grpc/grpc-js';
import type { EndpointWatchSnapshot } from '../call/connectivity.js';
import { experimental } from '../channel/quirks/experimental.js';
import { IS_LIBRARY_RESOLVER, WATCH_OPTION, WatchReceiver } from '../channel/quirks/library-resolver.js';
import { GrpcConfigurationError } from '../errors/grpc-configuration-error.js';
import { selectEndpoints, type EndpointSelection } from '../policy/kubernetes/select-endpoints.js';
import { requireOptions } from '../policy/options/option-problems.js';
import { StatusCode } from '../status/status-code.js';
import { moment, systemClock } from '../time/clock.js';
import { systemRandom } from '../time/random.js';
import { ApiServer, type KubernetesResolverOptions, kubernetesOptionsSchema } from './api-server.js';
import { missingEndpoints, parseKubernetesTarget, type KubernetesTarget } from './kubernetes-target.js';
import { ServiceWatch, type WatchListener, type WatchState } from './service-watch.js';

type Result = Parameters<types.ResolverListener>;
type ResolverClass = Parameters<typeof types.registerResolver>[1];

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
  requireOptions(kubernetesOptionsSchema, options, 'registerKubernetesResolver');
  const { registerResolver } = experimental;
  if (registerResolver === undefined) {
    const message =
      'expected a release that exports experimental.registerResolver, got one that does not; install a tested version';
    throw new GrpcConfigurationError([{ path: '@grpc/grpc-js', message }]);
  }
  const server = new ApiServer(options);
  const { identity } = server;
  if (registered?.identity !== identity) registered = { identity, watchOf: watchesOf(server) };
  registerResolver('kubernetes', resolverClass(server, registered.watchOf));
  return server;
}

type WatchOf = (service: string, namespace: string) => ServiceWatch;

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

/**
 * Creates the resolver class that grpc-js instantiates for `kubernetes:` targets. A resolver sends no request before `updateResolution()`.
 */
function resolverClass(server: ApiServer, watchOf: WatchOf): ResolverClass {
  return class KubernetesResolver implements types.Resolver, WatchListener {
    readonly [IS_LIBRARY_RESOLVER] = true;
    private readonly target: KubernetesTarget;
    private unsubscribe: (() => void) | undefined;
    private result: Result | undefined;
    /** The latest endpoints and the note about them, as JSON. */
    private known: string | undefined;
    private isReporting = false;
    /** Receives the state of the watch; `undefined` for channels that this library did not create. */
    private readonly receiver: WatchReceiver | undefined;
    private snapshot: EndpointWatchSnapshot | undefined;

    constructor(
      uri: types.GrpcUri,
      private readonly listener: types.ResolverListener,
      options: ChannelOptions,
    ) {
      this.target = parseKubernetesTarget(uri);
      const receiver: unknown = options[WATCH_OPTION];
      this.receiver = receiver instanceof WatchReceiver ? receiver : undefined;
    }

    /**
     * Called when the channel leaves the state IDLE, for example for its first call, and when the load-balancing policy requests a lookup,
     * for example after a connection has ended.
     */
    updateResolution(): void {
      if (this.unsubscribe !== undefined) {
        if (this.result !== undefined) this.reportLater();
        return;
      }
      const { service, namespace = server.namespace } = this.target;
      const watch = watchOf(service, namespace);
      this.unsubscribe = watch.subscribe(this);
      this.onChange(watch.describe());
    }

    destroy(): void {
      this.unsubscribe?.();
      this.unsubscribe = undefined;
      this.result = undefined;
      this.known = undefined;
      const { snapshot } = this;
      if (snapshot === undefined) return;
      const { server, endpoints, changedAt } = snapshot;
      const since = moment(systemClock.epoch()).toISOString();
      const known = { ...(endpoints && { endpoints }), ...(changedAt !== undefined && { changedAt }) };
      this.describe({ server, state: 'stopped', since, ...known });
    }

    onChange({ state, since, slices, changedAt, failure }: WatchState): void {
      const selection = slices && selectEndpoints(slices, this.target.port);
      this.describe({
        server: server.url,
        state,
        since: moment(since).toISOString(),
        ...(selection && { endpoints: selection.counts }),
        ...(changedAt !== undefined && { changedAt: moment(changedAt).toISOString() }),
        ...(failure && { error: failure.message }),
        ...(failure?.remedy !== undefined && { remedy: failure.remedy }),
      });
      if (selection !== undefined) this.use(selection);
      else if (failure !== undefined) this.fail([failure.message, failure.remedy].filter(Boolean).join('; '));
    }

    private describe(snapshot: EndpointWatchSnapshot): void {
      this.snapshot = snapshot;
      this.receiver?.changed(snapshot);
    }

    private use(selection: EndpointSelection): void {
      const endpoints = selection.found
        ? selection.endpoints.map(({ addresses }) => ({ addresses: [...addresses] }))
        : [];
      const { namespace = server.namespace } = this.target;
      const note = selection.found ? '' : missingEndpoints(selection, this.target, namespace);
      const text = JSON.stringify([endpoints, note]);
      // A watch update that leaves the endpoints unchanged is not reported, because grpc-js recreates the children of its load-balancing
      // policy for each report.
      if (text === this.known) return;
      this.known = text;
      this.result = [{ ok: true, value: endpoints }, {}, null, note];
      this.reportLater();
    }

    private fail(details: string): void {
      this.known = undefined;
      const error = { code: StatusCode.UNAVAILABLE as number, details, metadata: new Metadata() };
      this.result = [{ ok: false, error }, {}, null, ''];
      this.reportLater();
    }

    /** Reports in a later turn of the event loop, because grpc-js does not expect a result during `updateResolution()`. */
    private reportLater(): void {
      if (this.isReporting) return;
      this.isReporting = true;
      systemClock.defer(() => {
        this.isReporting = false;
        if (this.result !== undefined) this.listener(...this.result);
      });
    }

    static getDefaultAuthority(uri: types.GrpcUri): string {
      return parseKubernetesTarget(uri).authority;
    }
  };
}
