import type { Metadata } from '@grpc/grpc-js';
import type { StatusName } from '../../status/status-code.js';

/** Metadata as a plain object. An array sets several values for a key. */
type MetadataRecord = Readonly<Record<string, string | Buffer | readonly (string | Buffer)[]>>;

type MessageSource = Iterable<unknown> | AsyncIterable<unknown>;

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

/** The reply of a scripted server to one call. An empty reply succeeds, with an empty message or an empty stream. */
export interface Reply<Request = unknown> {
  /** The response message, if there is only one. */
  readonly message?: unknown;
  /**
   * Messages of a response stream. A function may read `call.requests` and respond to each. A reply to several calls needs a function, such
   * as `messages: () => generate()`, instead of an iterator or a Node stream, which only the first call can read.
   */
  readonly messages?: MessageSource | ((call: ScriptedCall<Request>) => MessageSource) | undefined;
  /** Time in milliseconds, 0 or more, between two messages, and between the last message and the status. @defaultValue 0 */
  readonly intervalMs?: number | undefined;
  /** Response headers, sent first; `true` sends empty headers. Without them, an error status without messages is sent as trailers only. */
  readonly headers?: MetadataRecord | true | undefined;
  /** A status name or any number, including invalid ones. @defaultValue 'OK' */
  readonly status?: StatusName | number | undefined;
  /** Status message; ignored if the status is OK. @defaultValue the name of the status */
  readonly details?: string | undefined;
  readonly trailers?: MetadataRecord | undefined;
  /** Value of the trailer `grpc-retry-pushback-ms`; may be invalid. An array sends several values. */
  readonly pushback?: string | number | readonly (string | number)[] | undefined;
  /** Time in milliseconds, 0 or more, before anything is sent. @defaultValue 0 */
  readonly delayMs?: number | undefined;
  /** Holds a part of the reply until `release()`: everything, everything except the headers, or only the status. */
  readonly hold?: 'everything' | 'messages' | 'status' | undefined;
  /** True if the reply never ends. Headers and messages are sent, if any. */
  readonly never?: boolean | undefined;
  /**
   * Mode for requests that the script does not read: 'await' reads all of them before replying, 'read' reads them while replying (only if
   * `messages` is not a function), and 'leave' does not read them, so that flow control blocks the client.
   * @defaultValue 'await' for client streams, 'read' for bidirectional streams
   */
  readonly requests?: 'await' | 'read' | 'leave' | undefined;
}

/**
 * The behavior of a method: one reply for every call; a list of replies, one per call, of which the last repeats; or a function that is
 * called for each call.
 */
export type Script<Request = unknown> =
  | Reply<Request>
  | readonly Reply<Request>[]
  | ((call: ScriptedCall<Request>) => Reply<Request> | Promise<Reply<Request>>);
