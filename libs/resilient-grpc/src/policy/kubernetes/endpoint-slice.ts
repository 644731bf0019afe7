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

/** One pod, or another backend of the service. */
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
  /** Zones whose clients should use this endpoint. Set if the service has a `trafficDistribution` or topology-aware routing. */
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

/**
 * Returns the milliseconds from the end of a watch to the next request.
 *
 * @param failures number of consecutive watches that could not be opened, or that ended within `STABLE_MS`, even without an error
 */
export function watchDelayMs(failures: number, random: Random): number {
  if (failures === 0) return SPREAD_MS * random();
  const capped = Math.min(FIRST_BACKOFF_MS * 2 ** (failures - 1), MAX_BACKOFF_MS);
  return capped * (0.5 + 0.5 * random());
}
