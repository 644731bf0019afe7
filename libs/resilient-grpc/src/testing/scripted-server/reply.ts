import { Metadata } from '@grpc/grpc-js';
import type { StatusName } from '../../status/status-code.js';
import type { ScriptedCall } from './scripted-call.js';

/** Metadata as a plain object; a list gives a key several values. */
export type MetadataRecord = Readonly<Record<string, string | Buffer | readonly (string | Buffer)[]>>;

/** How a scripted server answers one call. An empty one succeeds: with an empty message, or a stream without any. */
export interface Reply<Request = unknown> {
  /** The one message. */
  readonly message?: unknown;
  /** Messages of a response stream; a function may read `call.requests` and answer each. */
  readonly messages?: MessageSource | ((call: ScriptedCall<Request>) => MessageSource) | undefined;
  /** Time between two messages, and between the last one and the status. @defaultValue 0 */
  readonly intervalMs?: number | undefined;
  /** Response headers, sent before anything else. Without them a failure without messages is trailers-only. */
  readonly headers?: MetadataRecord | true | undefined;
  /** A name, or any number, also one that is no status. @defaultValue 'OK' */
  readonly status?: StatusName | number | undefined;
  /** @defaultValue the name of the status */
  readonly details?: string | undefined;
  readonly trailers?: MetadataRecord | undefined;
  /** `grpc-retry-pushback-ms`, any text; several values for a list. */
  readonly pushback?: string | number | readonly (string | number)[] | undefined;
  /** Time before anything is sent. @defaultValue 0 */
  readonly delayMs?: number | undefined;
  /** Waits for `release()`: with everything, with everything but the headers, or with the status alone. */
  readonly hold?: 'everything' | 'messages' | 'status' | undefined;
  /** true: never ends; headers and messages are sent if there are any. */
  readonly never?: boolean | undefined;
  /**
   * Requests of a request stream which the script has not read: 'await' reads them all before it answers, 'read' while it
   * does, 'leave' not at all, so that flow control stops the caller. @defaultValue 'await' of client streams, 'read' of bidi
   */
  readonly requests?: 'await' | 'read' | 'leave' | undefined;
}

/** Where the messages of a response stream come from. */
export type MessageSource = Iterable<unknown> | AsyncIterable<unknown>;

/**
 * What a method does: the same reply for every call; a list, one reply a call, of which the last one repeats; or a function
 * that is asked for each call.
 */
export type Script<Request = unknown> =
  | Reply<Request>
  | readonly Reply<Request>[]
  | ((call: ScriptedCall<Request>) => Reply<Request> | Promise<Reply<Request>>);

/** Metadata of grpc-js with the entries of `record`. */
export function toMetadata(record: MetadataRecord | undefined): Metadata {
  const metadata = new Metadata();
  for (const [key, value] of Object.entries(record ?? {})) {
    const values = typeof value === 'string' || Buffer.isBuffer(value) ? [value] : value;
    for (const one of values) metadata.add(key, one);
  }
  return metadata;
}

/** The trailers of a reply, pushback included. */
export function trailersOf(reply: Reply): Metadata {
  const trailers = toMetadata(reply.trailers);
  const { pushback } = reply;
  if (pushback === undefined) return trailers;
  const values = typeof pushback === 'object' ? pushback : [pushback];
  for (const value of values) trailers.add('grpc-retry-pushback-ms', String(value));
  return trailers;
}
