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
