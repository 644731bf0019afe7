import type { EndpointSelection } from '../policy/kubernetes/select-endpoints.js';
import type { KubernetesTarget } from './kubernetes-target.js';

/** Describes why a service has no endpoints, with a remedy. */
export function missingEndpoints(
  { reason, counts, ports }: Extract<EndpointSelection, { readonly found: false }>,
  { service, port }: KubernetesTarget,
  namespace: string,
): string {
  const name = `service ${service} in namespace ${namespace}`;
  switch (reason) {
    case 'no-slices':
      return `${name} has no EndpointSlices; check the names: kubectl -n ${namespace} get service ${service}`;
    case 'no-endpoints':
      return `${name} has no pods; check its selector, and that its pods are running: kubectl -n ${namespace} describe service ${service}`;
    case 'port': {
      const expected = port === undefined ? "a single TCP port, or one named 'grpc'" : `port ${String(port)}`;
      if (ports.length === 0) return `${name} defines no ports; write a port number in the target`;
      return `${name}: expected ${expected}, got ${ports.join(', ')}; write one of these numbers or names as the port in the target`;
    }
    case 'not-ready':
      return `${name} has no ready pods (${String(counts.notReady)} not ready, ${String(counts.terminating)} terminating); check their readiness probes`;
  }
}
