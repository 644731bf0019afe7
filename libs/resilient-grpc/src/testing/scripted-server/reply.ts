import type { Metadata } from '@grpc/grpc-js';
import { toMetadata } from '../../channel/attempt/metadata-input.js';
import { PUSHBACK_KEY } from '../../policy/pushback/parse-pushback.js';
import type { StatusName } from '../../status/status-code.js';
import type { ScriptedCall } from './scripted-call.js';

/** Metadata as a plain object. An array sets several values for a key. */
export type MetadataRecord = Readonly<Record<string, string | Buffer | readonly (string | Buffer)[]>>;

/** The reply of a scripted server to one call. An empty reply succeeds, with an empty message or an empty stream. */
export interface Reply<Request = unknown> {
  /** The response message, if there is only one. */
  readonly message?: unknown;
  /**
   * Messages of a response stream. A function may read `call.requests` and respond to each. A reply to several calls needs a function, such
   * as `messages: () => generate()`, instead of an iterator or a Node stream; otherwise, the second call fails with INTERNAL. An array for
   * a method with a single response must not have more than one message.
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

/** A source of response messages. */
export type MessageSource = Iterable<unknown> | AsyncIterable<unknown>;

/**
 * The behavior of a method: one reply for every call; a list of replies, one per call, of which the last repeats; or a function that is
 * called for each call.
 */
export type Script<Request = unknown> =
  | Reply<Request>
  | readonly Reply<Request>[]
  | ((call: ScriptedCall<Request>) => Reply<Request> | Promise<Reply<Request>>);

/** Returns the trailers of a reply, including pushback. */
export function trailersOf(reply: Reply): Metadata {
  const trailers = toMetadata(reply.trailers ?? {});
  const { pushback } = reply;
  if (pushback === undefined) return trailers;
  const values = typeof pushback === 'object' ? pushback : [pushback];
  for (const value of values) trailers.add(PUSHBACK_KEY, String(value));
  return trailers;
}
