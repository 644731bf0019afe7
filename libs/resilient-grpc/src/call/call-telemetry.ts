import type { Metadata } from '@grpc/grpc-js';
import type { StatusCode } from '../status/status-code.js';
import type { GrpcClientEvent } from './call-event.js';
import type { MethodDescriptor } from './method.js';
import type { StreamScope } from './stream-scope.js';
import type { TraceContexts } from './trace-contexts.js';

/** What is told of a client, call by call. Undefined where nobody takes it: then nothing is built. */
export interface ClientTelemetry {
  /** Kept from whoever asks for a call for what he hears of it; undefined: there is nothing to keep. */
  readonly contexts: TraceContexts | undefined;
  /**
   * A call begins, in the context of who asked for it.
   * @param scope the stream of which it is a call
   */
  begin(method: MethodDescriptor, scope: StreamScope | undefined): CallTelemetry;
  /** What is no event of every call. */
  take(event: GrpcClientEvent): void;
  /** Nothing follows. */
  close(): void;
}

/** What is looked at of a client when metrics are collected. */
export interface ClientFigures {
  /** Connections that are open, those that are idle or on their way out too. */
  readonly openConnections: number;
  /** Calls that wait for the channel. */
  readonly waiting: number;
  /** Of the call that has waited longest; 0 where none waits. */
  readonly oldestWaitMs: number;
  readonly retryBudget: { readonly tokens: number; readonly maxTokens: number };
  /** How long the stream has been open that is open longest; 0 where none is. */
  readonly oldestStreamMs: number;
}

/** What the next attempt of a call is. 'transparent-retry': no server has seen the one before (gRFC A6). */
export type AttemptKind = 'original' | 'retry' | 'transparent-retry' | 'hedge';

/** How a wait for the channel ended: there is one, there was none for too long, or the call ended meanwhile. */
export type WaitEnd = 'released' | 'refused' | 'left';

/** What is told of one call. */
export interface CallTelemetry {
  /** What the next attempt is; said before it begins. Without a word the first is the original one. */
  nextIs(kind: AttemptKind): void;
  /** An attempt begins on the wire, with `metadata` unless it says otherwise. */
  attempt(metadata: Metadata): AttemptTelemetry;
  /** A wait for the channel is over. */
  waited(how: WaitEnd, waitedMs: number): void;
  /** Before its caller hears of it. Only the first is heard. */
  end(code: StatusCode, details: string): void;
}

/** What is told of one attempt. */
export interface AttemptTelemetry {
  /** What is sent: what it was begun with, as it was, or a copy with the trace in it. */
  readonly metadata: Metadata;
  /** @param bytes of the message before it is compressed */
  sent(bytes: number): void;
  /** @param bytes of the message sent last, which is compressed on the wire */
  sentCompressed(bytes: number): void;
  /** @param bytes of the message that is received next, which was compressed on the wire */
  receivedCompressed(bytes: number): void;
  /** @param bytes of the message as it is read */
  received(bytes: number): void;
  /** Only the first is heard. */
  end(code: StatusCode, details: string): void;
}
