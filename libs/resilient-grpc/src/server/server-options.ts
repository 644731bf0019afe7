import type { Metadata } from '@grpc/grpc-js';
import type { GrpcOptions } from '@nestjs/microservices';
import type { Transport } from '../call/method.js';
import type { ConcurrencyPolicy, MaxConcurrentCalls } from '../policy/concurrency/permit-queue.js';
import type { ConnectionAges } from './grpc/socket-connections.js';
import type { OnceStore } from './once/once-store.js';
import type { DrainOptions, ResolvedDrain } from '../nest/module-options.js';

/** Mode in which an open response stream ends when the server drains. */
export type ServerDrainMode = 'fail' | 'complete' | 'finish';

/** Options for all methods, or for the methods that match a pattern in `methods`. */
export interface ServerMethodOptions {
  /**
   * Mode in which open response streams end at shutdown, after `drain.readinessDelayMs`. 'fail': stops the handler (unsubscribes from its
   * Observable, closes its iterator, aborts its `AbortSignal`) and ends the stream with UNAVAILABLE, so that a resumable client resumes on
   * another server. 'complete': the same, but ends the stream with OK. 'finish': lets the stream continue until shortly before the drain
   * timeout, then acts like 'fail'; the default if Nest's `gracefulShutdown` is true. In every mode, unary and client-streaming calls can
   * continue until shortly before the drain timeout.
   * @defaultValue 'fail'
   */
  readonly onDrain?: ServerDrainMode | undefined;
  /**
   * Maximum time in milliseconds, greater than 0, without a message on a stream in either direction. A response counts when it is sent,
   * not while it is queued. Idle streams end with UNAVAILABLE. If the client is not reading, the status cannot pass the unread messages, so
   * the stream is reset, and the client receives CANCELLED. The option does not apply to `@GrpcStreamCall`, whose handler owns the stream.
   * `Infinity` means no limit, even if the server or a less specific pattern sets one.
   * @defaultValue none
   */
  readonly maxStreamIdleMs?: number | undefined;
  /**
   * Refuses unary calls that cannot be served in time because handlers use the CPU without a pause. Such calls fail with RESOURCE_EXHAUSTED
   * before their handlers run, and clients do not retry them. Calls without a deadline are never refused for this reason. See
   * docs/guides/overload.md.
   * @defaultValue true
   */
  readonly overloadProtection?: boolean | undefined;
  /**
   * Maximum number of unary calls whose handlers run at the same time, 1 or more. The option limits the server as a whole; in `methods`, it
   * limits each method. Use it for handlers that wait for a resource, such as a database, with a value slightly above the number of requests
   * that the resource serves at once. Calls beyond the limit wait. `{ max, queue }` also limits how many of them wait (0 or more; 1000 by
   * default), separately for calls with a deadline and calls without one. Further calls, and calls that cannot be served in time, fail with
   * RESOURCE_EXHAUSTED. If the option is 'adaptive', the limit adapts,
   * between 4 and 1,000, to the duration of the handlers. Do not use 'adaptive' for methods whose duration depends on the request or on an
   * event, such as long polls. `false` means no limit, even if a less specific pattern sets one; the limit of the server still applies.
   * @defaultValue none
   */
  readonly maxConcurrentCalls?: MaxConcurrentCalls | false | undefined;
  /**
   * Maximum duration of a call in milliseconds, greater than 0, even if its client sent no deadline. A call that takes longer ends with
   * DEADLINE_EXCEEDED. If the client is not reading the responses of a stream, the stream is reset, and the client receives CANCELLED. The
   * handler is stopped: its `AbortSignal` is aborted, its Observable is unsubscribed, and its iterator is closed. `Infinity` means no
   * limit, even if the server or a less specific pattern sets one.
   * @defaultValue none
   */
  readonly maxCallMs?: number | undefined;
}

/** Options of `@Once()` handlers. */
export interface OnceOptions {
  /**
   * Where keys and the ends of their handlers are kept. All processes that serve the same methods must share it, unless there is only one.
   * @defaultValue a `MemoryOnceStore`, for one process
   */
  readonly store?: OnceStore | undefined;
  /**
   * Time in milliseconds, 600,000 or more, for which an end is kept. A key that a caller uses again later **runs again**.
   * @defaultValue 600000
   */
  readonly ttlMs?: number | undefined;
  /**
   * Returns whose key it is, such as the tenant that a guard has checked: callers with different results never share a key.
   * @defaultValue all callers share their keys
   */
  readonly scopeBy?: ((metadata: Metadata) => string) | undefined;
  /**
   * Time in milliseconds, more than 0, after which the `@CallSignal()` of a handler is aborted if no caller sent a deadline. Otherwise, the
   * latest deadline applies. Neither a cancellation nor a lost connection aborts it.
   * @defaultValue 60000
   */
  readonly maxRunMs?: number | undefined;
  /**
   * Returns what two requests with the same key must have in common. A request that differs is refused with INVALID_ARGUMENT.
   * @defaultValue the whole message, whatever the order of its fields and of the entries of maps
   */
  readonly sameRequest?: ((request: never) => string) | undefined;
}

/** Options of the server: Nest's gRPC options, with their usual meaning, and the following. */
export type ResilientGrpcServerOptions = GrpcOptions['options'] &
  ServerMethodOptions & {
    /** Timing of the shutdown. */
    readonly drain?: DrainOptions | undefined;
    /**
     * Options by method pattern: 'Get', 'Orders/Get', 'orders.v1.Orders/Get', 'Get*', '*'. For each option, the most specific pattern wins.
     * A pattern that matches no method makes server startup fail.
     */
    readonly methods?: Readonly<Record<string, ServerMethodOptions>> | undefined;
    /** Limits for the connections of clients. @defaultValue none */
    readonly connections?:
      | {
          /**
           * Maximum age of a connection in milliseconds, 1000 or more, with ±10% jitter; then the server sends GOAWAY. Open calls continue;
           * new ones use another connection. See gRFC A9.
           * @defaultValue none
           */
          readonly maxAgeMs?: number | undefined;
          /**
           * Time in milliseconds, 0 or more, for which open calls can continue after the GOAWAY at the maximum age; then they end with
           * UNAVAILABLE. See gRFC A9.
           * @defaultValue none
           */
          readonly graceMs?: number | undefined;
          /**
           * Time in milliseconds, 1000 or more, without a call on a connection, after which the server sends GOAWAY. See gRFC A9.
           * @defaultValue none
           */
          readonly idleMs?: number | undefined;
          /**
           * Maximum number of connections at each address, 1 or more, on the transport of this library. Further ones are closed at once.
           * @defaultValue none
           */
          readonly max?: number | undefined;
        }
      | undefined;
    /**
     * HTTP/2 transport: 'socket' is that of this library. 'grpc-js' is that of grpc-js, on `node:http2`. If the environment variable
     * NESTJS_RESILIENT_GRPC_TRANSPORT is `grpc-js`, all servers and clients of the process use it; if it is `socket`, that of this library
     * is the default. With a release of grpc-js that lacks names which the transport of this library needs, servers run on that of grpc-js.
     * @defaultValue 'socket'
     */
    readonly transport?: Transport | undefined;
    /** How `@Once()` handlers run once for each key. See docs/guides/writes.md. @defaultValue none; required by `@Once()` */
    readonly once?: OnceOptions | undefined;
    /** Enables `grpc.health.v1.Health`, bound to the application lifecycle. @defaultValue true */
    readonly health?: boolean | undefined;
    /** Enables server reflection; requires the package `@grpc/reflection`. @defaultValue false */
    readonly reflection?: boolean | undefined;
  };

/** Creates the options of `forRootAsync`, for `useClass` and `useExisting`. */
export interface ResilientGrpcServerOptionsFactory {
  createGrpcServerOptions():
    ResilientGrpcServerOptions | GrpcOptions | Promise<ResilientGrpcServerOptions | GrpcOptions>;
}

export const DEFAULT_SERVER_OPTIONS = {
  transport: 'socket',
  onDrain: 'fail',
  health: true,
  overloadProtection: true,
  reflection: false,
  onceTtlMs: 600_000,
  onceMaxRunMs: 60_000,
} as const satisfies Record<string, unknown>;

/** Resolved options of one method. */
export interface ResolvedServerMethod {
  readonly onDrain: ServerDrainMode;
  readonly maxStreamIdleMs: number | undefined;
  readonly overloadProtection: boolean;
  /** Limit of the method; the limit of the server applies in addition. */
  readonly maxConcurrentCalls: ConcurrencyPolicy | undefined;
  readonly maxCallMs: number | undefined;
}

/** Resolved options of `@Once()` handlers. */
export interface ResolvedOnce {
  readonly store: OnceStore;
  readonly ttlMs: number;
  readonly maxRunMs: number;
  readonly scopeBy: (metadata: Metadata) => string;
  readonly sameRequest: ((request: object) => string) | undefined;
}

/** Resolved and validated options of the server. */
export interface ResolvedServerOptions extends ConnectionAges {
  /** Path of the options in configuration problems. */
  readonly path: string;
  /** Copy of the given options in flat form, for Nest. */
  readonly nest: GrpcOptions['options'];
  readonly drain: ResolvedDrain;
  /** `Infinity` for any number. */
  readonly maxConnections: number;
  readonly transport: Transport;
  readonly once: ResolvedOnce | undefined;
  readonly health: boolean;
  readonly maxConcurrentCalls: ConcurrencyPolicy | undefined;
  readonly reflection: boolean;
  /** Returns the options of `service` ('orders.v1.Orders') and `method` ('Get'). */
  methodOptions(service: string, method: string): ResolvedServerMethod;
  /** Method patterns in `methods`. */
  readonly patterns: readonly string[];
  /** Log lines, written at startup, about valid options that have no effect, conflict with each other, or rely on the default port. */
  readonly warnings: readonly string[];
}
