import type { Metadata } from '@grpc/grpc-js';
import type { StatusCode } from '../status/status-code.js';
import type { GrpcClientEvent } from './call-event.js';
import type { MethodDescriptor } from './method.js';
import type { StreamScope } from './stream-source.js';

/** Opaque tracer context that a client stores. */
export type TraceContext = object;

export interface TraceContexts {
  /** The current context; `undefined` if nothing is traced. */
  active(): TraceContext | undefined;
  /** Runs `work`, including its asynchronous continuations, in `traceContext`. */
  run<T>(traceContext: TraceContext | undefined, work: () => T): T;
}

/** Receives the telemetry of each call of a client. `undefined` if nothing consumes it, so that no data is built. */
export interface ClientTelemetry {
  /** Captures the caller's trace context and restores it around the caller's callbacks; `undefined` if nothing is traced. */
  readonly contexts: TraceContexts | undefined;
  /** Reports the start of a call. Runs in the caller's context. */
  begin(
    method: MethodDescriptor,
    scope: StreamScope | undefined,
    metadata: Metadata | undefined,
  ): CallTelemetry | undefined;
  /** Receives the events that do not occur for every call. */
  take(event: GrpcClientEvent): void;
  close(): void;
}

/** Figures of a client that are read when metrics are collected. */
export interface ClientFigures {
  /** Number of connections, including idle ones and those of replaced channels. Each counts until it closes or receives GOAWAY. */
  readonly openConnections: number;
  /** Duration of the current outage in milliseconds; absent without an outage and after the client is closed. */
  readonly outageMs?: number | undefined;
  readonly waiting: number;
  /** Waiting time of the oldest waiting call in milliseconds; 0 if no call is waiting. */
  readonly oldestWaitMs: number;
  readonly retryBudget: { readonly tokens: number; readonly maxTokens: number };
  /** Number of addresses in use; 0 before the first lookup and after the client is closed. */
  readonly addresses: number;
  /** Present if the endpoints of the target are watched. All figures are 0 after the client is closed. */
  readonly watch?: WatchFigures | undefined;
  /** Age of the oldest open stream in milliseconds; 0 if there is none. */
  readonly oldestStreamMs: number;
  /** Current adaptive concurrency limits. Without `path`, the limit is the client's. */
  readonly adaptiveLimits: readonly { readonly path?: string; readonly maxConcurrent: number }[];
  /** Hedging delays that are derived from measured latency. `delayMs` is absent until enough attempts have been measured. */
  readonly hedgingDelays: readonly { readonly path: string; readonly delayMs?: number }[];
}

export interface WatchFigures {
  /** Time for which the watch has been failing, in milliseconds; 0 if it is not failing. */
  readonly failingMs: number;
  readonly ready: number;
  readonly notReady: number;
  readonly terminating: number;
}

/** Kind of an attempt. 'transparent-retry': no server application received the previous attempt (gRFC A6). */
export type AttemptKind = 'original' | 'retry' | 'transparent-retry' | 'hedge';

/**
 * Result of a wait for the channel. 'released': the channel became usable. 'refused': it did not become usable in time, or too many calls
 * were waiting. 'abandoned': the call ended first, for example because the client was closed.
 */
export type WaitEnd = 'released' | 'refused' | 'abandoned';

export interface CallTelemetry {
  /** Sets the kind of the next attempt, before it begins. The first attempt is 'original' by default. */
  nextIs(kind: AttemptKind): void;
  /** Reports the start of an attempt with `metadata`. The attempt must send the metadata of the returned object instead. */
  attempt(metadata: Metadata): AttemptTelemetry;
  /** Runs `work`, which starts an attempt, in the context of the call's span. Absent if the caller's context suffices. */
  within?<T>(work: () => T): T;
  answered?(headers: Metadata): void;
  waited(outcome: WaitEnd, waitedMs: number): void;
  /** Reports the end of the call, before the caller receives its status. Only the first report counts. */
  end(code: StatusCode, details: string, trailers: Metadata): void;
}

export interface AttemptTelemetry {
  /** Metadata to send: the original object, or a copy that includes the trace context. */
  readonly metadata: Metadata;
  /** @param bytes size of the message before compression */
  sent(bytes: number): void;
  /** @param bytes size of the message after decompression */
  received(bytes: number): void;
  /** Reports the end of the attempt. Only the first report counts. `isAnswered` is true if a response, HTTP at least, had begun. */
  end(code: StatusCode, details: string, peer: string | undefined, isAnswered?: boolean): void;
}
