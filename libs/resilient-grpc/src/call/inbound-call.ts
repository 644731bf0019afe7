/** The call that is being served. Outgoing calls can inherit its deadline, cancellation, and metadata. */
export interface InboundCall {
  readonly kind: 'grpc' | 'http';
  /** Deadline of the caller; absent if the caller sent none. */
  readonly deadline?: Date;
  /**
   * Aborted when a gRPC caller cancels, the deadline of a gRPC call passes, the server ends a gRPC call, or an HTTP client disconnects
   * before the response ends.
   */
  readonly signal: AbortSignal;
  /** Value of a metadata key or HTTP header. Several values are joined with ', '; binary ones ('…-bin') are base64. */
  get(key: string): string | undefined;
}

export interface CapturedCall extends InboundCall {
  /** True if the call is a retry, or if a retry further up the call chain caused it. */
  readonly retry: boolean;
  readonly streaming: boolean;
  /** Start time in monotonic milliseconds. */
  readonly startedAt: number;
}

export interface Propagation {
  readonly deadline: boolean;
  readonly cancellation: boolean;
  /** Metadata keys in lower case. */
  readonly metadata: readonly string[];
  /** Called for each value of the inbound call that is not forwarded, because gRPC cannot send it under this key. */
  readonly dropped?: ((key: string, problem: string) => void) | undefined;
}
