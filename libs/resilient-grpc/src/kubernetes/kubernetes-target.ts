import type { experimental } from '@grpc/grpc-js';
import type { PortSelector, EndpointSelection } from '../policy/kubernetes/select-endpoints.js';

/** A service and a port, parsed from a target such as 'kubernetes:///orders.shop:50051'. */
export interface KubernetesTarget {
  readonly service: string;
  /** Namespace of the service; `undefined` if the target names no namespace. */
  readonly namespace: string | undefined;
  readonly port: PortSelector;
  /** The host as written, with the port only if it is a number. Used for `:authority` and to check the name in the certificate. */
  readonly authority: string;
}

const EXAMPLE = "write 'kubernetes:///orders.shop:50051' (service.namespace:port)";
const LABEL = '[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?';
/**
 * Matches 'orders', 'orders.shop', 'orders.shop.svc', and 'orders.shop.svc.cluster.local', each with an optional port number or port name.
 */
const PATH = new RegExp(`^((${LABEL})(?:\\.(${LABEL})(?:\\.svc(?:\\.${LABEL})*)?)?)(?::([-a-z0-9]{1,15}))?$`);

/** @throws Error if the target is invalid */
export function parseKubernetesTarget({ authority = '', path }: experimental.GrpcUri): KubernetesTarget {
  if (authority !== '')
    throw new Error(
      `expected an API server from the Kubernetes configuration, got '${authority}' in the target; write 'kubernetes:///${path}'`,
    );
  const [, host, service, namespace, port] = PATH.exec(path) ?? [];
  if (host === undefined || service === undefined)
    throw new Error(`expected a Kubernetes service, got '${path}'; ${EXAMPLE}`);
  if (port === undefined || !/^\d+$/.test(port)) return { service, namespace, port, authority: host };
  const number = Number(port);
  if (number < 1 || number > 65_535)
    throw new Error(`expected a port from 1 to 65535, got '${port}' in '${path}'; ${EXAMPLE}`);
  return { service, namespace, port: number, authority: `${host}:${port}` };
}

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
