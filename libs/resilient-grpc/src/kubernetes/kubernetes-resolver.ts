import { Metadata, type experimental } from '@grpc/grpc-js';
import { IS_LIBRARY_RESOLVER } from '../channel/quirks/library-resolver.js';
import type { EndpointSlice } from '../policy/kubernetes/endpoint-slice.js';
import { selectEndpoints, type EndpointSelection } from '../policy/kubernetes/select-endpoints.js';
import { StatusCode } from '../status/status-code.js';
import type { Clock } from '../time/clock.js';
import { parseKubernetesTarget, type KubernetesTarget } from './kubernetes-target.js';
import type { ServiceWatch, SliceListener } from './service-watch.js';

type Result = Parameters<experimental.ResolverListener>;
type ResolverClass = Parameters<typeof experimental.registerResolver>[1];

/** What resolvers use of the registration. */
export interface ResolverDependencies {
  readonly clock: Clock;
  readonly zone: string | undefined;
  /** Namespace of targets without one. */
  readonly namespace: string;
  watchOf(service: string, namespace: string): ServiceWatch;
}

/** Creates the class of resolvers that grpc-js creates for `kubernetes:` targets. A resolver does nothing before `updateResolution()`. */
export function kubernetesResolverClass(dependencies: ResolverDependencies): ResolverClass {
  return class KubernetesResolver implements experimental.Resolver, SliceListener {
    readonly [IS_LIBRARY_RESOLVER] = true;
    private readonly target: KubernetesTarget;
    private unsubscribe: (() => void) | undefined;
    private result: Result | undefined;
    /** The latest endpoints as text. */
    private known: string | undefined;
    private isReporting = false;

    constructor(
      uri: experimental.GrpcUri,
      private readonly listener: experimental.ResolverListener,
    ) {
      this.target = parseKubernetesTarget(uri);
    }

    /** grpc-js calls it for the first call, and whenever a connection ends. */
    updateResolution(): void {
      if (this.unsubscribe !== undefined) {
        if (this.result !== undefined) this.reportLater();
        return;
      }
      const { service, namespace = dependencies.namespace } = this.target;
      this.unsubscribe = dependencies.watchOf(service, namespace).subscribe(this);
    }

    destroy(): void {
      this.unsubscribe?.();
      this.unsubscribe = undefined;
      this.result = undefined;
      this.known = undefined;
    }

    onSlices(slices: readonly EndpointSlice[]): void {
      const selection = selectEndpoints(slices, this.target.port, dependencies.zone);
      const endpoints = selection.found
        ? selection.endpoints.map(({ addresses }) => ({ addresses: [...addresses] }))
        : [];
      const note = selection.found ? '' : missingText(selection, this.target, dependencies.namespace);
      const text = JSON.stringify([endpoints, note]);
      // A change of a slice often changes no endpoint, and grpc-js recreates its balancer's children for each report.
      if (text === this.known) return;
      this.known = text;
      this.result = [{ ok: true, value: endpoints }, {}, null, note];
      this.reportLater();
    }

    onFailure(details: string): void {
      this.known = undefined;
      const error = { code: StatusCode.UNAVAILABLE as number, details, metadata: new Metadata() };
      this.result = [{ ok: false, error }, {}, null, ''];
      this.reportLater();
    }

    /** Reports in a later turn, because grpc-js does not expect a result within `updateResolution()`. */
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

/** Describes why a service has no endpoints, and what to check. */
function missingText(
  { because, counts, ports }: Extract<EndpointSelection, { readonly found: false }>,
  { service, namespace: written, port }: KubernetesTarget,
  ownNamespace: string,
): string {
  const namespace = written ?? ownNamespace;
  const name = `service ${service} in namespace ${namespace}`;
  switch (because) {
    case 'no-slices':
      return `${name} has no EndpointSlices; check the names: kubectl -n ${namespace} get service ${service}`;
    case 'no-endpoints':
      return `${name} has no pods; check its selector, and that its pods run: kubectl -n ${namespace} describe service ${service}`;
    case 'port': {
      const wanted = port === undefined ? "one port, or one named 'grpc'" : `port ${String(port)}`;
      return `${name}: expected ${wanted} of its pods, got ${ports.join(', ') || 'none'}; write the number or the name of a port of the pods in the target`;
    }
    case 'not-ready':
      return `${name} has no ready pods (${String(counts.notReady)} not ready, ${String(counts.terminating)} terminating); check their readiness probes`;
  }
}
