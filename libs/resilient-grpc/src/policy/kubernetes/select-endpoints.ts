import type { Random } from '../../time/random.js';

/** The fields of a Kubernetes EndpointSlice (`discovery.k8s.io/v1`) that a resolver reads. */
export interface EndpointSlice {
  readonly metadata?: { readonly name?: string; readonly resourceVersion?: string };
  /** 'IPv4', 'IPv6', or 'FQDN'. */
  readonly addressType?: string;
  readonly endpoints?: readonly SliceEndpoint[] | null;
  /** Applies to all endpoints of the slice. `null` or an empty list: the service defines no port. */
  readonly ports?: readonly SlicePort[] | null;
}

export interface SliceEndpoint {
  /** Kubernetes defines the addresses as alternatives. A client uses the first one. */
  readonly addresses?: readonly string[];
  /** An absent `ready` means ready. */
  readonly conditions?: {
    readonly ready?: boolean | null;
    readonly serving?: boolean | null;
    readonly terminating?: boolean | null;
  } | null;
  readonly targetRef?: { readonly uid?: string } | null;
}

export interface SlicePort {
  readonly name?: string | null;
  /** `null` or absent: every port. */
  readonly port?: number | null;
  /** 'TCP' (the default if absent or `null`), 'UDP', or 'SCTP'. gRPC uses only TCP ports. */
  readonly protocol?: string | null;
}

/** Minimum duration of a stable watch in milliseconds. A stable watch ends a series of failures, even if the watch then fails. */
export const STABLE_MS = 10_000;
/**
 * Maximum delay in milliseconds after a stable watch. All watches end together if the API server restarts, so each client's delay is
 * random.
 */
const SPREAD_MS = 1_000;
const FIRST_BACKOFF_MS = 1_000;
/** Maximum backoff in milliseconds; the same as in client-go's reflector. */
const MAX_BACKOFF_MS = 30_000;

/** Returns the milliseconds from the end of a watch to the next request. */
export function watchDelayMs(failures: number, random: Random): number {
  if (failures === 0) return SPREAD_MS * random();
  const capped = Math.min(FIRST_BACKOFF_MS * 2 ** (failures - 1), MAX_BACKOFF_MS);
  return capped * (0.5 + 0.5 * random());
}

/**
 * The port of a target: a number, or the name of a port of the service. `undefined`: the only TCP port, or the one named 'grpc' if there
 * are several.
 */
export type PortSelector = number | string | undefined;

/** An endpoint that receives calls. A pod with an IPv4 and an IPv6 address is one endpoint with two addresses. */
export interface SelectedEndpoint {
  readonly addresses: readonly { readonly host: string; readonly port: number }[];
}

export interface EndpointCounts {
  readonly ready: number;
  readonly notReady: number;
  readonly terminating: number;
}

/** The endpoints of a service that receive calls, or the reason why no endpoint does. */
export type EndpointSelection =
  | {
      readonly found: true;
      /** Sorted by address, so that the same endpoints always produce the same list. */
      readonly endpoints: readonly SelectedEndpoint[];
      /**
       * - 'ready': all ready endpoints.
       * - 'terminating': no endpoint is ready, and these are terminating but still serving.
       */
      readonly reason: 'ready' | 'terminating';
      readonly counts: EndpointCounts;
    }
  | {
      readonly found: false;
      /**
       * - 'no-slices': the service has no EndpointSlice with IP addresses.
       * - 'no-endpoints': the service has no pods.
       * - 'port': no EndpointSlice that contains endpoints has the port.
       * - 'not-ready': no pod is ready, and no terminating pod is still serving.
       */
      readonly reason: 'no-slices' | 'no-endpoints' | 'port' | 'not-ready';
      readonly counts: EndpointCounts;
      /** Ports of the slices, such as '50051 (grpc)'. */
      readonly ports: readonly string[];
    };

interface Pod {
  readonly addresses: Map<string, { readonly host: string; readonly port: number }>;
  isReady: boolean;
  isServing: boolean;
  isTerminating: boolean;
}

/**
 * Selects the endpoints that receive calls, by the rules of kube-proxy: the ready ones or, if none is ready, those that are terminating but
 * still serving (KEP-1669).
 */
export function selectEndpoints(slices: Iterable<EndpointSlice>, port: PortSelector): EndpointSelection {
  const all = [...slices].filter(({ addressType }) => addressType !== 'FQDN');
  const pods = new Map<string, Pod>();
  const seen = new Map<string, Pod>();
  for (const slice of all) {
    const number = portOf(slice.ports ?? [], port);
    for (const endpoint of slice.endpoints ?? []) {
      const host = endpoint.addresses?.[0];
      if (host === undefined) continue;
      // As in kube-proxy, backends without a pod, such as two processes on one host, are distinguished by their ports.
      const key = endpoint.targetRef?.uid ?? `${host} ${String(number)}`;
      merge(seen, key, endpoint);
      if (number === undefined) continue;
      const pod = merge(pods, key, endpoint);
      pod.addresses.set(host, { host, port: number });
    }
  }
  const counts = countsOf([...seen.values()]);
  const ready = [...pods.values()].filter(isReady);
  if (ready.length > 0) return { found: true, endpoints: endpointsOf(ready), reason: 'ready', counts };
  const serving = [...pods.values()].filter(({ isServing, isTerminating }) => isServing && isTerminating);
  if (serving.length > 0) return { found: true, endpoints: endpointsOf(serving), reason: 'terminating', counts };
  const reason =
    all.length === 0 ? 'no-slices' : seen.size === 0 ? 'no-endpoints' : pods.size === 0 ? 'port' : 'not-ready';
  const ports = new Set(all.flatMap((slice) => slice.ports ?? []).map(portText));
  return { found: false, reason, counts, ports: [...ports] };
}

/**
 * Adds the conditions from one slice to a pod. While Kubernetes moves a pod between slices, an outdated copy may remain.
 * Therefore, a pod that is terminating in any slice counts as terminating. Any other pod counts as ready if it is ready in any slice.
 */
function merge(pods: Map<string, Pod>, key: string, { conditions }: SliceEndpoint): Pod {
  const pod: Pod = pods.get(key) ?? { addresses: new Map(), isReady: false, isServing: false, isTerminating: false };
  pods.set(key, pod);
  const ready = conditions?.ready ?? true;
  pod.isReady ||= ready;
  pod.isServing ||= conditions?.serving ?? ready;
  pod.isTerminating ||= conditions?.terminating ?? false;
  return pod;
}

const isReady = ({ isReady, isTerminating }: Pod): boolean => isReady && !isTerminating;

function countsOf(pods: readonly Pod[]): EndpointCounts {
  const ready = pods.filter(isReady).length;
  const terminating = pods.filter(({ isTerminating }) => isTerminating).length;
  return { ready, notReady: pods.length - ready - terminating, terminating };
}

/** Returns the TCP port number of a slice's endpoints; `undefined` if the slice lacks the port. */
function portOf(ports: readonly SlicePort[], wanted: PortSelector): number | undefined {
  const tcp = ports.filter(({ protocol }) => (protocol ?? 'TCP') === 'TCP');
  if (typeof wanted === 'number') {
    const isAny = ports.length === 0 || tcp.some(({ port }) => port === null || port === undefined);
    return isAny || tcp.some(({ port }) => port === wanted) ? wanted : undefined;
  }
  const found = tcp.length === 1 && wanted === undefined ? tcp[0] : tcp.find(({ name }) => name === (wanted ?? 'grpc'));
  return isPort(found?.port) ? found.port : undefined;
}

/** True if the port is valid. The API server does not check the range. */
const isPort = (port: SlicePort['port']): port is number => Number(port) >= 1 && Number(port) <= 65_535;

function portText({ name, port, protocol }: SlicePort): string {
  const number =
    port === undefined || port === null ? 'any' : `${isPort(port) ? '' : 'the invalid port '}${String(port)}`;
  const suffix = (protocol ?? 'TCP') === 'TCP' ? '' : `/${String(protocol)}`;
  return [`${number}${suffix}`, ...(name ? [`(${name})`] : [])].join(' ');
}

function endpointsOf(pods: readonly Pod[]): readonly SelectedEndpoint[] {
  return pods
    .map(({ addresses }) => ({ addresses: [...addresses.values()].sort(byAddress) }))
    .sort((first, second) => byAddress(first.addresses[0], second.addresses[0]));
}

type Address = SelectedEndpoint['addresses'][number];

function byAddress(first: Address | undefined, second: Address | undefined): number {
  const [a, b] = [first?.host ?? '', second?.host ?? ''];
  return a < b ? -1 : a > b ? 1 : (first?.port ?? 0) - (second?.port ?? 0);
}
