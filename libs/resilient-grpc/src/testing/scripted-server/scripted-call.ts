import type { Metadata } from '@grpc/grpc-js';

/** A call as a scripted server sees it. */
export interface ScriptedCall<Request = unknown> {
  /** '/orders.v1.Orders/Get' */
  readonly path: string;
  /** 'Get' */
  readonly method: string;
  readonly metadata: Metadata;
  /** 'ip:port' of the caller. */
  readonly peer: string;
  /** Calls of this method so far, this one included: 1 for the first. */
  readonly number: number;
  /** Calls with this one's key so far, this one included; 1 where it has no key. */
  readonly attempt: number;
  /** `grpc-previous-rpc-attempts`; 0 where it is absent. */
  readonly previousAttempts: number;
  /** Milliseconds since 1970, or Infinity. */
  readonly deadline: number;
  /** The request; of a request stream the first one, and undefined until that has come. */
  readonly request: Request;
  /** Requests of a request stream, as they are read. To be iterated once. */
  readonly requests: AsyncIterable<Request>;
  /** Aborted when the caller cancels, its deadline passes or its connection is lost. */
  readonly signal: AbortSignal;
}

/** What became of a call: 'cancelled' by the caller or its deadline, 'disconnected' with its connection or this server. */
export type CallOutcome = 'open' | 'answered' | 'cancelled' | 'disconnected';

/** What is kept of a call. */
export interface CallRecord {
  readonly path: string;
  readonly method: string;
  readonly metadata: Metadata;
  readonly peer: string;
  readonly key: string | undefined;
  readonly previousAttempts: number;
  /** Milliseconds since 1970. */
  readonly at: number;
  /** Requests that were read. */
  readonly requests: readonly unknown[];
  readonly outcome: CallOutcome;
  /** The status this server sent; undefined for none. */
  readonly code: number | undefined;
}

/** Counts of a method, or of all. */
export interface CallCounts {
  /** Calls that arrived (their headers). */
  readonly calls: number;
  readonly open: number;
  readonly maxOpen: number;
  readonly answered: number;
  readonly cancelled: number;
  readonly disconnected: number;
}
