import type { GrpcOptions } from '@nestjs/microservices';
import type { DrainOptions } from '../nest/module-options.js';

/** What becomes of an open response stream when the server drains. */
export type OnServerDrain = 'fail' | 'complete' | 'finish';

/** What may stand once for all methods, or for some in `methods`. */
export interface ServerMethodOptions {
  /**
   * What becomes of an open response stream at shutdown. 'fail': its handler is told at once (Observable unsubscribed, iterator
   * returned, `AbortSignal` aborted), and it ends UNAVAILABLE, from which a resumable client goes on elsewhere. 'complete': the same,
   * but it ends OK. 'finish', which Nest's `gracefulShutdown: true` makes the default: it may finish until the time is nearly over,
   * then as 'fail'. Calls that answer once always may finish.
   * @defaultValue 'fail'
   */
  readonly onDrain?: OnServerDrain | undefined;
  /**
   * Longest time in milliseconds, more than 0, in which no message passes on a stream, in either direction; one that waits for a
   * client which does not read has not passed. Then it ends UNAVAILABLE; where the client does not read, nothing gets past what it has not
   * read, and its stream is reset, which it learns of as CANCELLED. Not of `@GrpcStreamCall`, whose handler owns the stream.
   * @defaultValue none
   */
  readonly streamIdleTimeoutMs?: number | undefined;
  /**
   * Bytes of response messages, more than 0, each with 128 of its own, and at least 128 messages, that an Observable may push while
   * its client takes none, and some of an earlier turn of the event loop still wait; one more and the stream ends
   * RESOURCE_EXHAUSTED. So it does where a client that reads is 30 s behind with more than so many bytes. What is pushed in one turn
   * otherwise does not count. What can be iterated is pulled, and never runs ahead.
   * @defaultValue 8388608
   */
  readonly maxQueuedResponseBytes?: number | undefined;
}

/** Options of the server: Nest's own gRPC options, which keep their meaning, and these. */
export type ResilientGrpcServerOptions = GrpcOptions['options'] &
  ServerMethodOptions & {
    /** How the server ends with the application. */
    readonly drain?: DrainOptions | undefined;
    /**
     * By method: 'Get', 'Orders/Get', 'orders.v1.Orders/Get', 'Get*', '*'. The most exact wins, key by key. A pattern that matches
     * no method fails the start.
     */
    readonly methods?: Readonly<Record<string, ServerMethodOptions>> | undefined;
    /**
     * A handler that still runs so many milliseconds, more than 0, after its call ended is told in the log; `Infinity`: never.
     * @defaultValue 60000
     */
    readonly leakWarningMs?: number | undefined;
    /**
     * A connection older than so many milliseconds (1000 or more), ±10 %, is told to go (GOAWAY): its calls go on, new ones come over
     * another one. gRFC A9.
     * @defaultValue none
     */
    readonly maxConnectionAgeMs?: number | undefined;
    /**
     * What still runs so many milliseconds, 0 or more, after its connection was told to go for its age is ended, UNAVAILABLE. gRFC A9.
     * @defaultValue none
     */
    readonly maxConnectionAgeGraceMs?: number | undefined;
    /** A connection without a call for so many milliseconds (1000 or more) is told to go. gRFC A9. @defaultValue none */
    readonly connectionIdleTimeoutMs?: number | undefined;
    /** Calls that may be open at once on one connection, 1 or more; a client keeps further ones waiting. @defaultValue no limit */
    readonly maxConcurrentStreams?: number | undefined;
    /** Connections that the system holds until they are accepted, 1 or more; it may have a lower limit. @defaultValue 511 */
    readonly backlog?: number | undefined;
    /** `grpc.health.v1.Health`, bound to the life of the application. @defaultValue true */
    readonly health?: boolean | undefined;
    /** Server reflection; needs the package `@grpc/reflection`. @defaultValue false */
    readonly reflection?: boolean | undefined;
  };

/** What holds where nothing is said. */
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

/** Options of one method, complete. */
export interface ResolvedServerMethod {
  readonly onDrain: OnServerDrain;
  readonly streamIdleTimeoutMs: number | undefined;
  readonly maxQueuedResponseBytes: number;
}

/** Options of the server, complete and checked. */
export interface ResolvedServerOptions {
  /** Where they were given, for what is found wrong later. */
  readonly path: string;
  /** As given, for Nest. */
  readonly nest: GrpcOptions['options'];
  readonly drain: { readonly timeoutMs: number; readonly readinessDelayMs: number };
  readonly leakWarningMs: number;
  readonly maxConnectionAgeMs: number | undefined;
  readonly maxConnectionAgeGraceMs: number | undefined;
  readonly connectionIdleTimeoutMs: number | undefined;
  readonly maxConcurrentStreams: number | undefined;
  readonly backlog: number;
  readonly health: boolean;
  readonly reflection: boolean;
  /** Of `service` ('orders.v1.Orders') and `method` ('Get'). */
  methodOptions(service: string, method: string): ResolvedServerMethod;
  /** Patterns of `methods`. */
  readonly patterns: readonly string[];
  /** What can be used, and will surprise: a line each for the log, at the start. */
  readonly warnings: readonly string[];
}
