import { Metadata, type ChannelOptions, type experimental } from '@grpc/grpc-js';
import type { EndpointWatchSnapshot } from '../call/connectivity.js';
import { IS_LIBRARY_RESOLVER, WATCH_OPTION, WatchReceiver } from '../channel/quirks/library-resolver.js';
import { selectEndpoints, type EndpointSelection } from '../policy/kubernetes/select-endpoints.js';
import { StatusCode } from '../status/status-code.js';
import { moment, type Clock } from '../time/clock.js';
import { parseKubernetesTarget, type KubernetesTarget, missingEndpoints } from './kubernetes-target.js';
import type { ServiceWatch, WatchListener, WatchState } from './service-watch.js';

type Result = Parameters<experimental.ResolverListener>;
type ResolverClass = Parameters<typeof experimental.registerResolver>[1];

export interface ResolverDependencies {
  readonly clock: Clock;
  readonly url: string;
  readonly namespace: string;
  watchOf(service: string, namespace: string): ServiceWatch;
}

/**
 * Creates the resolver class that grpc-js instantiates for `kubernetes:` targets. A resolver sends no request before `updateResolution()`.
 */
export function kubernetesResolverClass(dependencies: ResolverDependencies): ResolverClass {
  return class KubernetesResolver implements experimental.Resolver, WatchListener {
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
      uri: experimental.GrpcUri,
      private readonly listener: experimental.ResolverListener,
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
      const { service, namespace = dependencies.namespace } = this.target;
      const watch = dependencies.watchOf(service, namespace);
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
      const since = moment(dependencies.clock.epoch()).toISOString();
      const known = { ...(endpoints && { endpoints }), ...(changedAt !== undefined && { changedAt }) };
      this.describe({ server, state: 'stopped', since, ...known });
    }

    onChange({ state, since, slices, changedAt, failure }: WatchState): void {
      const selection = slices && selectEndpoints(slices, this.target.port);
      this.describe({
        server: dependencies.url,
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
      const { namespace = dependencies.namespace } = this.target;
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
      dependencies.clock.defer(() => {
        this.isReporting = false;
        if (this.result !== undefined) this.listener(...this.result);
      });
    }

    static getDefaultAuthority(uri: experimental.GrpcUri): string {
      return parseKubernetesTarget(uri).authority;
    }
  };
}
