import { RETRY_CHAIN_KEY, stopsRetries } from '../policy/retry/decide-retry.js';

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
  readonly notes?: PropagationNotes | undefined;
}

export interface PropagationNotes {
  /** Called for each outgoing call; `found` is true if there was an inbound call. */
  note(found: boolean): void;
  /** Called for each value of the inbound call that is not forwarded, because gRPC cannot send it under this key. */
  dropped(key: string, problem: string): void;
}

export interface Propagated {
  /** Milliseconds since 1970, or Infinity. */
  readonly deadline: number;
  /** Signal of the inbound call; `undefined` if cancellation is not propagated. */
  readonly signal: AbortSignal | undefined;
  /** Metadata values of the inbound call, base64 for keys that end in '-bin'; also `x-retry-chain` if `inRetryChain` is true. */
  readonly entries: readonly (readonly [key: string, value: string])[];
  /**
   * True if the outgoing call serves an inbound call that is a retry, or was caused by one further up the call chain; for an inbound
   * stream, only for a limited time after its start (see `stopsRetries`). An attempt that may have reached a server is then not repeated.
   */
  readonly inRetryChain: boolean;
}

/** `now` is in monotonic milliseconds. */
export function propagated(inbound: CapturedCall, propagation: Propagation, now: number): Propagated {
  const inRetryChain = stopsRetries(inbound, now);
  const entries = propagation.metadata.flatMap((key) => {
    const value = inbound.get(key);
    return value === undefined ? [] : [[key, value] as const];
  });
  return {
    deadline: propagation.deadline ? (inbound.deadline?.getTime() ?? Infinity) : Infinity,
    signal: propagation.cancellation ? inbound.signal : undefined,
    entries: inRetryChain ? [...entries, [RETRY_CHAIN_KEY, RETRY_CHAIN_VALUE]] : entries,
    inRetryChain,
  };
}

const RETRY_CHAIN_VALUE = '1';
