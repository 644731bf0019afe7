import type { GrpcOptions } from '@nestjs/microservices';
import type { DrainOptions, ResolvedDrain } from '../nest/module-options.js';

/** Handling of an open response stream when the server drains. */
export type ServerDrainMode = 'fail' | 'complete' | 'finish';

/** Options for all methods, or for some of them in `methods`. */
export interface ServerMethodOptions {
  /**
   * Handling of open response streams at shutdown. 'fail': stops the handler immediately (unsubscribes from its Observable, returns its
   * iterator, aborts its `AbortSignal`) and ends the stream with UNAVAILABLE, so that a resumable client resumes on another server.
   * 'complete': the same, but ends the stream with OK. 'finish': lets the stream finish until shortly before the drain timeout, then
   * acts as 'fail'; the default with Nest's `gracefulShutdown: true`. Unary and client-streaming calls can always finish.
   * @defaultValue 'fail'
   */
  readonly onDrain?: ServerDrainMode | undefined;
  /**
   * Maximum time in milliseconds, greater than 0, without a message on a stream in either direction. A response that waits for a
   * client that does not read does not count as a message. Idle streams end with UNAVAILABLE. If the client does not read, a status
   * cannot pass the unread messages; the stream is reset, and the client receives CANCELLED. Does not apply to `@GrpcStreamCall`, whose
   * handler owns the stream.
   * @defaultValue none
   */
  readonly streamIdleTimeoutMs?: number | undefined;
  /**
   * Maximum bytes of responses, greater than 0, that an Observable may push while its client reads none. Each message counts 128 bytes
   * more than its size, and at least 128 messages are allowed. Beyond that, the stream ends with RESOURCE_EXHAUSTED if responses from an
   * earlier turn of the event loop are still waiting. It also does if the client reads, but the oldest waiting response is 30 s old.
   * Otherwise, responses pushed in one turn do not count. Iterables are pulled and never run ahead of the client.
   * @defaultValue 8388608
   */
  readonly maxQueuedResponseBytes?: number | undefined;
}

/** Options of the server: Nest's gRPC options, with their usual meaning, and the following. */
export type ResilientGrpcServerOptions = GrpcOptions['options'] &
  ServerMethodOptions & {
    /** Timing of the shutdown. */
    readonly drain?: DrainOptions | undefined;
    /**
     * Options by method pattern: 'Get', 'Orders/Get', 'orders.v1.Orders/Get', 'Get*', '*'. For each key, the most specific pattern
     * wins. A pattern that matches no method fails the startup of the server.
     */
    readonly methods?: Readonly<Record<string, ServerMethodOptions>> | undefined;
    /**
     * Time in milliseconds, greater than 0, after the end of a call, at which a handler that is still running is logged; `Infinity`
     * disables the warning.
     * @defaultValue 60000
     */
    readonly leakWarningMs?: number | undefined;
    /**
     * Maximum age of a connection in milliseconds, 1000 or more, ±10 %; then the server sends GOAWAY. Open calls continue; new ones
     * use another connection. See gRFC A9.
     * @defaultValue none
     */
    readonly maxConnectionAgeMs?: number | undefined;
    /**
     * Time in milliseconds, 0 or more, that open calls may continue after the GOAWAY for connection age; then they end with UNAVAILABLE.
     * See gRFC A9.
     * @defaultValue none
     */
    readonly maxConnectionAgeGraceMs?: number | undefined;
    /** Time without a call in milliseconds, 1000 or more, after which a connection receives GOAWAY. See gRFC A9. @defaultValue none */
    readonly connectionIdleTimeoutMs?: number | undefined;
    /** Maximum number of concurrent calls per connection, 1 or more; clients queue further calls. @defaultValue no limit */
    readonly maxConcurrentStreams?: number | undefined;
    /** Maximum length of the queue of pending connections, 1 or more; the operating system may limit it further. @defaultValue 511 */
    readonly backlog?: number | undefined;
    /** Enables `grpc.health.v1.Health`, bound to the application lifecycle. @defaultValue true */
    readonly health?: boolean | undefined;
    /** Enables server reflection; requires the package `@grpc/reflection`. @defaultValue false */
    readonly reflection?: boolean | undefined;
  };

/** Default options. */
export const DEFAULT_SERVER_OPTIONS = {
  onDrain: 'fail',
  maxQueuedResponseBytes: 8 * 1024 * 1024,
  leakWarningMs: 60_000,
  keepaliveTimeMs: 60_000,
  keepaliveTimeoutMs: 20_000,
  backlog: 511,
  health: true,
  reflection: false,
} as const satisfies Record<string, unknown>;

/** Resolved options of one method. */
export interface ResolvedServerMethod {
  readonly onDrain: ServerDrainMode;
  readonly streamIdleTimeoutMs: number | undefined;
  readonly maxQueuedResponseBytes: number;
}

/** Resolved and validated options of the server. */
export interface ResolvedServerOptions {
  /** Path of the options in configuration problems. */
  readonly path: string;
  /** Options as passed by the user, for Nest. */
  readonly nest: GrpcOptions['options'];
  readonly drain: ResolvedDrain;
  readonly leakWarningMs: number;
  readonly maxConnectionAgeMs: number | undefined;
  readonly maxConnectionAgeGraceMs: number | undefined;
  readonly connectionIdleTimeoutMs: number | undefined;
  readonly maxConcurrentStreams: number | undefined;
  readonly backlog: number;
  readonly health: boolean;
  readonly reflection: boolean;
  /** Returns the options of `service` ('orders.v1.Orders') and `method` ('Get'). */
  methodOptions(service: string, method: string): ResolvedServerMethod;
  /** Method patterns in `methods`. */
  readonly patterns: readonly string[];
  /** Log lines, written at startup, about options that are valid but have surprising effects. */
  readonly warnings: readonly string[];
}
