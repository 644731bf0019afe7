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

/** An inbound call with the fields that are internal to the library. */
export interface CapturedCall extends InboundCall {
  /** True if the call is a retry, or if a retry further up the call chain caused it. */
  readonly retry: boolean;
  /** True if the requests or the responses are a stream. */
  readonly streaming: boolean;
  /** Start time in monotonic milliseconds. */
  readonly startedAt: number;
}
