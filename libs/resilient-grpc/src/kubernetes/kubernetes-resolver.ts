import { Metadata, type experimental } from '@grpc/grpc-js';
import { IS_LIBRARY_RESOLVER } from '../channel/quirks/library-resolver.js';
import type { EndpointSlice } from '../policy/kubernetes/endpoint-slice.js';
import { selectEndpoints } from '../policy/kubernetes/select-endpoints.js';
import { StatusCode } from '../status/status-code.js';
import type { Clock } from '../time/clock.js';
import { parseKubernetesTarget, type KubernetesTarget } from './kubernetes-target.js';
import { missingEndpoints } from './missing-endpoints.js';
import type { ServiceWatch, SliceListener } from './service-watch.js';

type Result = Parameters<experimental.ResolverListener>;
type ResolverClass = Parameters<typeof experimental.registerResolver>[1];

/** Parts of the registration that resolvers use. */
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
      const { namespace = dependencies.namespace } = this.target;
      const note = selection.found ? '' : missingEndpoints(selection, this.target, namespace);
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
