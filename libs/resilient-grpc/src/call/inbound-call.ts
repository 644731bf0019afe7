/** The call that is being served: what outgoing calls may be tied to. */
export interface InboundCall {
  readonly kind: 'grpc' | 'http';
  /** When its caller stops waiting; absent where it did not say. */
  readonly deadline?: Date;
  /** Aborted when a gRPC caller cancelled, or an HTTP client went away before the response ended. */
  readonly signal: AbortSignal;
  /** Value of a metadata key or HTTP header, several joined by ', '; binary ones ('…-bin') as base64. */
  get(key: string): string | undefined;
}

/** What is known of an inbound call beyond what users see. */
export interface CapturedCall extends InboundCall {
  /** It is itself a retry, or made on behalf of one. */
  readonly retry: boolean;
  /** Its requests or its responses are a stream. */
  readonly streaming: boolean;
  /** Monotonic milliseconds. */
  readonly startedAt: number;
}
