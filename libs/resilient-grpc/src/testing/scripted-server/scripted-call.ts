import type { Metadata } from '@grpc/grpc-js';

/** A call to a scripted server. */
export interface ScriptedCall<Request = unknown> {
  /** Path of the method, such as '/orders.v1.Orders/Get'. */
  readonly path: string;
  /** Name of the method, such as 'Get'. */
  readonly method: string;
  readonly metadata: Metadata;
  /** Address of the client, 'ip:port'. */
  readonly peer: string;
  /** Number of calls to this method since the start or the last `reset()`, including this one: 1 for the first call. */
  readonly number: number;
  /**
   * Number of calls to this method with the same key since the start or the last `reset()`, including this one; 1 if the call has no key.
   */
  readonly attempt: number;
  /** Value of `grpc-previous-rpc-attempts`; 0 if absent. */
  readonly previousAttempts: number;
  /** Deadline in milliseconds since 1970; `Infinity` if there is none. */
  readonly deadline: number;
  /** The request; for a request stream, the first message, or `undefined` until the server has read it. */
  readonly request: Request;
  /** The requests of a request stream. Can be iterated only once. */
  readonly requests: AsyncIterable<Request>;
  /** Aborted when the call ends, for example because the client cancels, the deadline expires, or the connection is lost. */
  readonly signal: AbortSignal;
}

/**
 * The state of a call: 'open', 'answered' with a status, 'cancelled' by the client or the deadline, or 'disconnected' because its
 * connection was lost or the server was stopped without a graceful end of its calls.
 */
export type CallOutcome = 'open' | 'answered' | 'cancelled' | 'disconnected';

/** The record of a call. */
export interface CallRecord {
  readonly path: string;
  readonly method: string;
  readonly metadata: Metadata;
  readonly peer: string;
  readonly key: string | undefined;
  readonly previousAttempts: number;
  /** Arrival time in milliseconds since 1970. */
  readonly at: number;
  /** The requests read so far. */
  readonly requests: readonly unknown[];
  readonly outcome: CallOutcome;
  /** The code of the status that this server sent; `undefined` if it sent none. */
  readonly code: number | undefined;
}

/** Call counts of one method or of all methods. */
export interface CallCounts {
  /** Number of calls whose headers have arrived. */
  readonly calls: number;
  readonly open: number;
  /** Maximum number of calls that were open at the same time. */
  readonly maxOpen: number;
  readonly answered: number;
  readonly cancelled: number;
  readonly disconnected: number;
}
