import type { MethodKind } from './method.js';
import type { StatusCode } from '../status/status-code.js';
import type { UnsentField, UntestedVersion } from './call-event.js';
import type { ProtectionId } from './protection.js';

/** Overload state of a server. During an overload, the server refuses calls that it cannot start in time. */
export interface ServerOverload {
  /** Start of the current overload; `undefined` if the server is not overloaded. */
  readonly since: Date | undefined;
  readonly queued: number;
  /** Number of calls refused because of an overload, since the server was created. */
  readonly shed: number;
  /** Limits that `maxConcurrentCalls` sets for the server and for its methods. */
  readonly limits: readonly ServerConcurrencyLimit[];
}

export interface ServerConcurrencyLimit {
  /** Path of the method; `undefined` for the limit of the server. */
  readonly path: string | undefined;
  /** Maximum number of unary handlers that run at the same time. If the limit is adaptive, this is its current value. */
  readonly maxConcurrent: number;
  readonly running: number;
  readonly queued: number;
  /** Maximum number of waiting calls (`maxConcurrentCalls.queue`), counted separately for calls with a deadline and calls without one. */
  readonly maxQueued: number;
}

export interface ObservableServer {
  readonly address: string;
  overload(): ServerOverload;
}

/**
 * An event of a server, for logs, the metrics of rare events, and subscribers of `events$`. The traces and metrics of calls come from
 * `ServerTelemetry`. 'call-start' and 'call-end' are built only while `events$` has a subscriber. A minor version may add events and
 * property values; handle unknown ones in a default branch.
 */
export type GrpcServerEvent = {
  /** Milliseconds since 1970. */
  readonly at: number;
} & (
  | { readonly type: 'call-start'; readonly path: string; readonly kind: MethodKind }
  | { readonly type: 'call-end'; readonly path: string; readonly kind: MethodKind; readonly end: ServerCallEnd }
  | { readonly type: 'drain'; readonly phase: 'begin'; readonly running: number }
  | ({ readonly type: 'drain'; readonly phase: 'end' } & ServerDrainReport)
  /**
   * The server ended a connection: by GOAWAY ('age', 'idle'), or by closing it: 'age-grace', 'keepalive', 'limit' if the client violated
   * HTTP/2 or exceeded a limit, which `details` names, and 'refused' if there were `connections.max` already. `protection` names the rule
   * for programs.
   */
  | {
      readonly type: 'connection-end';
      readonly peer: string;
      readonly reason: 'age' | 'age-grace' | 'idle' | 'keepalive' | 'limit' | 'refused';
      readonly protection: ProtectionId;
      readonly details?: string;
    }
  /**
   * A TLS handshake failed, for example because the server rejected the certificate of the client. `code` is the error code of Node or
   * OpenSSL, and `peer` is 'unknown' if the address is unavailable. Not emitted if the client closed the connection during the handshake,
   * as a TCP health check does.
   */
  | {
      readonly type: 'handshake-failed';
      readonly peer: string;
      readonly reason: HandshakeFailureReason;
      readonly code: string;
    }
  /**
   * New content of the certificate files that the server watches cannot be used. The old one stays in use; if there is none (`isInUse` is
   * false), new connections are closed.
   */
  | { readonly type: 'tls-reload'; readonly problem: string; readonly isInUse: boolean }
  /** The TLS certificate of the server has expired, or will within 14 days (`expiresAt`, ISO 8601). Emitted at the start and once a day. */
  | { readonly type: 'certificate-expiry'; readonly expiresAt: string; readonly isExpired: boolean }
  /**
   * This process did not run for at least a second, because a handler blocked the event loop or the process was stopped. All calls waited
   * meanwhile.
   */
  | { readonly type: 'process-paused'; readonly pausedMs: number }
  /**
   * The memory for connections is used up: new calls are refused with UNAVAILABLE (`consequence` 'refused'), or calls that hold much were
   * ended ('ended'). Emitted at most once a second for each.
   */
  | { readonly type: 'memory-limit'; readonly consequence: 'refused' | 'ended'; readonly protection: ProtectionId }
  /** The server ended a stream that was idle in both directions. */
  | { readonly type: 'stream-idle'; readonly path: string; readonly peer: string; readonly idleMs: number }
  /** A handler is still running after its call has ended. */
  | { readonly type: 'handler-leak'; readonly path: string; readonly overMs: number }
  /**
   * A call failed because the buffered responses of its Observable exceeded 8 MiB, and the client had taken none of the last
   * 64 MiB, or the oldest had waited for 30 s. `bytes` is the size of the buffered messages.
   */
  | { readonly type: 'responses-overflow'; readonly path: string; readonly bytes: number }
  /**
   * An Observable emitted many messages in one turn of the event loop: more than 8,192, which is 8 MiB at an assumed 1 KiB per
   * message. The messages are buffered in memory until they can be sent.
   */
  | { readonly type: 'responses-burst'; readonly path: string; readonly messages: number }
  /** The Observable of a unary handler emitted another value after the response. */
  | { readonly type: 'extra-response'; readonly path: string }
  /**
   * A part of a status was not sent: trailers that HTTP/2 or gRPC forbids, or what exceeds the limit of the client, which is 8 KiB if it
   * announces none. The code is always sent; error details go first, then the other trailers, then the end of the message.
   */
  | { readonly type: 'trailers-omitted'; readonly path: string }
  /**
   * A request could not be deserialized, so its handler did not receive it. The caller received `code`: INTERNAL, or RESOURCE_EXHAUSTED if the
   * request exceeds `maxReceiveMessageLength`.
   */
  | { readonly type: 'request-unreadable'; readonly path: string; readonly error: unknown; readonly code: StatusCode }
  /**
   * An overload began or ended. During an overload, the server refuses calls that it cannot start in time. `limit` is the
   * `maxConcurrentCalls` limit that calls wait for; absent if calls wait because handlers use the CPU without a pause.
   */
  | {
      readonly type: 'overload';
      readonly phase: 'begin';
      readonly queued: number;
      readonly limit?: Pick<ServerConcurrencyLimit, 'path' | 'maxConcurrent' | 'maxQueued'>;
    }
  | { readonly type: 'overload'; readonly phase: 'end'; readonly shed: number; readonly durationMs: number }
  /** A call was refused because of an overload. Its handler did not run. */
  | { readonly type: 'call-shed'; readonly path: string }
  /** A call that waited for earlier calls was dequeued. Its handler starts, unless the call must also wait for another limit. */
  | { readonly type: 'call-dequeued'; readonly path: string; readonly waitMs: number }
  /**
   * An `@Once()` handler has ended and its end is kept ('kept'), or it did nothing ('released'); or a repeated call got the kept end ('replayed'),
   * joined a handler that ran ('joined'), or found that nobody knows what the handler did ('in-doubt'). In a store that commits, the handler
   * may have answered without `once.commit()`, so that it runs again if its process dies before the end is kept ('uncommitted'), or with another
   * response than it had committed, which callers get ('changed'). `key`: a random one, or 12 characters of the SHA-256 of another.
   */
  | {
      readonly type: 'once';
      readonly path: string;
      readonly outcome: 'kept' | 'released' | 'replayed' | 'joined' | 'in-doubt' | 'uncommitted' | 'changed';
      readonly key: string;
    }
  /** The installed grpc-js is untested, or grpc-js or Node lacks private names that the library uses. */
  | ({ readonly type: 'untested-version' } & UntestedVersion)
  /**
   * A value of a response is not sent, or is replaced by another. Emitted at most once per method and field, and only in development
   * (`NODE_ENV` is not 'production').
   */
  | ({ readonly type: 'unsent-field' } & UnsentField)
  /**
   * A handler or its teardown failed with an error that the caller does not receive in full, or a response could not be serialized.
   */
  | { readonly type: 'handler-failed'; readonly path: string; readonly error: unknown }
);

/**
 * Cause of a failed TLS handshake. Reasons that start with 'client-certificate' describe a client certificate that is missing or that the
 * server rejected. A minor version may add reasons; handle unknown ones in a default branch.
 */
export type HandshakeFailureReason =
  | 'client-certificate-missing'
  | 'client-certificate-expired'
  | 'client-certificate-not-yet-valid'
  | 'client-certificate-untrusted'
  | 'client-certificate-invalid'
  | 'server-certificate-rejected'
  | 'no-tls'
  | 'no-http2'
  | 'other';

export interface ServerCallEnd {
  readonly code: StatusCode;
  readonly peer: string;
  readonly durationMs: number;
  readonly sent: number;
  readonly received: number;
}

export interface ServerDrainReport {
  readonly finished: number;
  /** Streams that the drain completed (`onDrain: 'complete'`). */
  readonly completed: number;
  /** Streams that the drain ended with UNAVAILABLE, so that clients resume them on another server. */
  readonly ended: number;
  /** Calls that were still open at the end of the drain timeout, and were cut off. */
  readonly cutOff: number;
  /** Connections that were still open at the end of the drain timeout, for example with an incomplete request, and were cut off. */
  readonly connectionsCutOff: number;
  readonly durationMs: number;
}
