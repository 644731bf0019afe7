import type { ChannelCredentials, ChannelOptions } from '@grpc/grpc-js';
import type { Observable } from 'rxjs';
import type { Transport } from '../../call/method.js';
import type { TlsOptions } from '../../channel/tls/tls-material.js';
import type { CircuitBreakerOptions } from '../../policy/circuit-breaker/circuit-breaker.js';
import type { MaxConcurrentCalls } from '../../policy/concurrency/permit-queue.js';
import type { StatusName } from '../../status/status-code.js';
import type { LoadBalancingConfig, ServiceConfig } from '../../policy/service-config/service-config.js';
import type {
  MetadataFunction,
  GrpcClientInterceptor,
  GrpcClientInterceptorClass,
} from '../interceptors/call-hooks.js';
import type { ClientDrainMode, MetadataInput } from '../resilient-types.js';

/**
 * Settings of one client, or of all clients if given as `forRoot({ defaults })`. A client's own settings override the defaults, key by key.
 */
export interface GrpcClientDefaults {
  /**
   * Deadline of unary and client-streaming calls in milliseconds, more than 0. It does not apply to response streams. `Infinity` means no
   * limit, even if the defaults set one.
   * @defaultValue none
   */
  readonly timeoutMs?: number | undefined;
  /**
   * Maximum time in milliseconds, more than 0, that the client waits for the first or the next message of a response stream. Time
   * spent waiting for the channel does not count. When the limit expires, the stream fails with UNAVAILABLE and `reason: 'stream-idle'`;
   * `resumable` resumes it with another call. `Infinity` means no limit, even if the defaults set one.
   * @defaultValue none
   */
  readonly streamIdleTimeoutMs?: number | undefined;
  /**
   * If true, a call fails with INVALID_ARGUMENT before it is sent if a request contains a misspelled field, or a value that would arrive as
   * another one, such as text in a number field. The error names the field. If false, the request is sent, and an `unsent-field` event and
   * a log line name the field once per method. Applies to requests that proto-loader's serializers write.
   * @defaultValue false
   */
  readonly rejectInvalidMessages?: boolean | undefined;
  /**
   * Maximum time in milliseconds, from the start of an outage, that calls wait for the channel; 0 disables waiting. After that time,
   * waiting calls fail, and new calls fail immediately. Each client applies ±10% jitter, so that the clients of a fleet do not fail their
   * calls at the same moment. `methods[…].waitForReady` overrides this limit for a method.
   * @defaultValue 5000
   */
  readonly outageGraceMs?: number | undefined;
  /**
   * Maximum number of calls that wait at the same time during an outage, 0 or more. A call above the limit fails with
   * `reason: 'too-many-waiting'`. Each waiting call takes at most 3 KiB of memory in addition to its request. No limit applies while the
   * channel connects for the first time or reconnects after idling.
   * @defaultValue 10000
   */
  readonly maxWaitingCalls?: number | undefined;
  /**
   * Maximum number of concurrent calls of this client, 1 or more. Calls above the limit are queued until a running call ends or their
   * deadline expires. `{ max, queue }` also limits the queue (0 or more; 1000 by default); further calls fail immediately with
   * RESOURCE_EXHAUSTED. Calls that wait for the channel do not count. With 'adaptive', the limit follows the latency of unary calls, stays
   * between 4 and 1,000, and does not apply to streams. `false` means no limit, even if the defaults set one.
   * @defaultValue no limit
   */
  readonly maxConcurrentCalls?: MaxConcurrentCalls | false | undefined;
  /**
   * True if the client resends a call once, for any method, when the server resets the HTTP/2 stream of the call with REFUSED_STREAM (gRFC
   * A6). Do not set this option if a proxy is in front of the server: proxies such as HAProxy also send REFUSED_STREAM for requests that a
   * backend has executed.
   * @defaultValue false
   */
  readonly trustRefusedStreams?: boolean | undefined;
  /**
   * Load-balancing policy: its name, or a `loadBalancingConfig` as in a service config. With 'pick_first', the client has one connection,
   * to the first address that is reachable. With 'round_robin', it uses all endpoints in turn. With 'least_request' (gRFC A48;
   * `least_request_experimental` in a service config), it compares the load of two random endpoints (their running attempts and latencies)
   * and uses the less loaded one. A `kubernetes:` target uses 'round_robin' by default.
   * @defaultValue 'pick_first'
   */
  readonly loadBalancing?: 'pick_first' | 'round_robin' | 'least_request' | LoadBalancingConfig | undefined;
  /** Life of the client's connections. Merged key by key with the `connections` of the defaults. */
  readonly connections?:
    | {
        /** True if the client connects when it is created, and reconnects whenever the channel becomes idle. @defaultValue false */
        readonly warm?: boolean | undefined;
        /**
         * Maximum duration of one connection attempt in milliseconds, including TLS and the CONNECT request to an HTTP proxy. It doubles
         * each time an attempt to the same address times out, up to two minutes; a value below `outageGraceMs` does not grow during the
         * grace period. If a peer accepts the connection but does not respond, the outage starts only after this time. Calls then wait for
         * this time plus `outageGraceMs`, or until their deadline. A warning is logged when calls have waited for 1.5 s.
         * @defaultValue 20000
         */
        readonly connectTimeoutMs?: number | undefined;
        /**
         * Time in milliseconds, 1000 or more, without a call, after which the client closes its connections, before load balancers drop
         * them silently. The next call connects again.
         * @defaultValue 200000
         */
        readonly idleMs?: number | undefined;
        /**
         * Maximum age of a connection in milliseconds, 1000 or more, with ±10% jitter, counted while the channel is READY; then the client
         * replaces its connections. Running calls finish on the old ones.
         * @defaultValue none
         */
        readonly maxAgeMs?: number | undefined;
      }
    | undefined;
  /** Credentials from grpc-js. Cannot be combined with `tls`. @defaultValue insecure */
  readonly credentials?: ChannelCredentials | undefined;
  /**
   * TLS material: file paths, PEM text, or buffers; `{}` trusts Node's default certificate authorities. Cannot be combined with
   * `credentials`.
   */
  readonly tls?: TlsOptions | undefined;
  /**
   * HTTP/2 transport: 'socket' is that of this library. 'grpc-js' goes back to the transport of grpc-js: calls, deadlines, retries of safe
   * methods, budgets, and drains work as before, but the client cannot tell whether a lost call reached the server, reconnects with a
   * backoff of 0.25 s, replaces a dead connection only if `keepalive` is set, and neither ejects nor checks endpoints. If the environment
   * variable NESTJS_RESILIENT_GRPC_TRANSPORT is `grpc-js`, all clients of the process use it.
   * @defaultValue 'socket'; 'grpc-js' for targets with a resolver that is not in this library or grpc-js, such as `xds:`, and with a release of grpc-js that lacks names which the transport needs
   */
  readonly transport?: Transport | undefined;
  /** HTTP/2 keepalive pings, with Nest's option names. Merged key by key with the `keepalive` of the defaults. @defaultValue off */
  readonly keepalive?: KeepaliveOptions | undefined;
  /** Maximum size of a request message in bytes; −1 means no limit, and 0 means not set, as in Nest. @defaultValue no limit */
  readonly maxSendMessageLength?: number | undefined;
  /** Maximum size of a response message in bytes; −1 means no limit, and 0 means not set, as in Nest. @defaultValue 4 MiB */
  readonly maxReceiveMessageLength?: number | undefined;
  /**
   * Channel options of grpc-js, and its `interceptors`, passed on unchanged. As in Nest, options next to `channelOptions`, such as
   * `maxReceiveMessageLength` and `keepalive`, override its keys. The keys are merged one by one with those of the defaults. An option of
   * the client, in `channelOptions` or next to it, overrides that of the defaults. Options that this library must control (retries, service
   * config, subchannel pool) are rejected.
   */
  readonly channelOptions?: ChannelOptions | undefined;
  /**
   * Metadata sent with every call. A function is called and awaited once per attempt, so each attempt gets a current token. Merged key by
   * key with that of the defaults.
   */
  readonly metadata?: MetadataInput | MetadataFunction | undefined;
  /**
   * Interceptors, as instances or classes. They receive each call and each attempt before it is sent, and each call when it ends. A class
   * is resolved from the application's container and must be a singleton there. Interceptors of the defaults run first, then those of the
   * client.
   */
  readonly interceptors?: readonly (GrpcClientInterceptor | GrpcClientInterceptorClass)[] | undefined;
  /**
   * Overrides `propagate` of forRoot key by key; `false` disables propagation for this client.
   * @defaultValue the value of forRoot
   */
  readonly propagate?: false | PropagationOptions | undefined;
  /**
   * Ejects endpoints that fail, are slow, or stop responding, while the others perform better. An ejected endpoint receives no calls until
   * its ejection ends, and then an increasing share of the calls. The option needs a balancing policy, such as
   * `loadBalancing: 'round_robin'`, because pick_first uses one endpoint. It replaces outlier detection (gRFC A50) in the service config.
   * @defaultValue false
   */
  readonly ejectUnhealthy?: boolean | undefined;
  /**
   * Resolves a DNS name again this many milliseconds (1000 or more) after its last lookup. Up to 20% is added at random. With `false`, the
   * name is resolved again only when a connection ends or cannot be established. New addresses receive calls; calls on removed addresses
   * finish. While lookups fail, the earlier addresses stay in use, and the delay doubles after each failure, up to 30 s. Other targets, and
   * idle channels, are not resolved periodically.
   * @defaultValue 5000; false for pick_first
   */
  readonly dnsRefreshMs?: number | false | undefined;
}

/** Settings of one client. They depend on the environment, whereas the contract (`GrpcContract`) depends only on the code. */
export interface GrpcClientSettings extends GrpcClientDefaults {
  /**
   * Target in grpc-js syntax: 'orders:50051', 'dns:///orders:50051', 'unix:/run/o.sock', 'xds:///orders',
   * 'kubernetes:///orders.shop:50051'.
   */
  readonly url: string;
  /**
   * Options by method pattern: 'Get', 'Orders/Get', 'orders.v1.Orders/Get', 'Get*', '*'. For each option, the most specific pattern wins. A
   * pattern that matches no method makes startup fail.
   */
  readonly methods?: Readonly<Record<string, MethodOptions>> | undefined;
  /**
   * Standard gRPC service config (gRFC A2, A6), as an object or as JSON text. If the service config and `timeoutMs` both set a timeout, the
   * smaller one applies. An Observable of service configs changes the policies, including load balancing, while the client is open. A call
   * keeps the policy it started with; invalid updates are logged and ignored.
   */
  readonly serviceConfig?: ServiceConfig | string | Observable<ServiceConfig | string> | undefined;
}

/**
 * Data of an inbound call that is propagated to the calls made while the inbound call is being served. If the inbound call is a retry or
 * serves a retry, these calls also send `x-retry-chain`. Calls made for an inbound stream send it only during the first 10 s of the stream.
 * Nothing else is propagated.
 */
export interface PropagationOptions {
  /** Bounds outgoing calls by the inbound deadline (from a gRPC call or an HTTP `grpc-timeout` header). @defaultValue false */
  readonly deadline?: boolean | undefined;
  /**
   * Cancels outgoing calls when the gRPC caller cancels, the deadline of the gRPC call passes, the server ends the gRPC call, or the HTTP
   * client disconnects before the response has ended.
   * @defaultValue false
   */
  readonly cancellation?: boolean | undefined;
  /**
   * Metadata keys or HTTP headers that are forwarded unchanged, such as 'x-request-id'. Like all keys, 'authorization' and 'cookie' are
   * forwarded only if listed. Keys reserved by gRPC or HTTP are rejected.
   * @defaultValue none
   */
  readonly metadata?: readonly string[] | undefined;
}

/** Options of one method, in addition to those in a standard service config. */
export interface MethodOptions {
  /**
   * Deadline of the whole call in milliseconds, more than 0. Unlike the client's `timeoutMs`, it also applies to response streams.
   * `Infinity` means no limit, even if the client or a less specific pattern sets one.
   * @defaultValue the value of the client; none for response streams
   */
  readonly timeoutMs?: number | undefined;
  /**
   * Timeout of one attempt in milliseconds, more than 0. An attempt that exceeds it is cancelled, and retried if the method is safe to
   * repeat. For a response stream, the timeout applies only until the response headers arrive. Time spent waiting for the channel does not
   * count. Unary calls send the timeout to the server as `grpc-timeout`, unless the call's deadline is earlier or the call has grpc-js
   * interceptors. `Infinity` means no limit, even if a less specific pattern sets one.
   * @defaultValue none
   */
  readonly attemptTimeoutMs?: number | undefined;
  /**
   * True if the method is safe to repeat; retries may then resend calls that may have reached the server. `false` disables the retry policy
   * and the hedging policy for the method. If the option is absent, a `retryPolicy` or a `hedgingPolicy` in the service config also makes
   * the method safe to repeat.
   * @defaultValue the proto's `idempotency_level`
   */
  readonly idempotent?: boolean | undefined;
  /**
   * Behavior during an outage: `true` waits until the deadline, `false` fails immediately (gRPC's default), `undefined` waits for up to
   * `outageGraceMs`.
   * @defaultValue undefined
   */
  readonly waitForReady?: boolean | undefined;
  /**
   * Maximum time in milliseconds, more than 0, that the client waits for the first or the next message of a response stream. Time
   * spent waiting for the channel does not count. `Infinity` means no limit, even if the client or a less specific pattern sets one.
   * @defaultValue the value of the client
   */
  readonly streamIdleTimeoutMs?: number | undefined;
  /** Maximum number of messages that are read ahead of a slow `for await` loop, 1 or more. @defaultValue 16 */
  readonly prefetch?: number | undefined;
  /**
   * Mode in which open response streams end at shutdown. 'finish': a stream can complete within `drain.timeoutMs`; after that, it fails
   * with UNAVAILABLE and `reason: 'draining'`. 'complete': it completes immediately, as if the server had ended it. 'fail': it fails
   * immediately. In every mode, unary and client-streaming calls can complete within `drain.timeoutMs`.
   * @defaultValue 'finish'; 'complete' inside `resumable()`
   */
  readonly onDrain?: ClientDrainMode | undefined;
  /**
   * Rejects attempts for `breakDurationMs`, without sending them, if too many recent attempts have failed. `{}` uses the default options of
   * the circuit breaker. `false` means no circuit breaker, even if a less specific pattern sets one.
   * @defaultValue none
   */
  readonly circuitBreaker?: CircuitBreakerOptions | false | undefined;
  /**
   * Maximum number of concurrent calls of each method, in the same forms, and in addition to the client's limit. With 'adaptive', the limit
   * follows the latency of the method and stays between 4 and 1,000; it has no effect on streams. `false` means no limit for the method,
   * even if a less specific pattern sets one.
   * @defaultValue no limit
   */
  readonly maxConcurrentCalls?: MaxConcurrentCalls | false | undefined;
  /**
   * Retry policy of the method, with the meaning of `retryPolicy` in a service config, which it replaces. It makes the method safe to
   * repeat, unless `idempotent` is false. Keys that are not given have the values of the default policy: 4 attempts, including the original
   * (the maximum is 5); a backoff of 100 ms with ±20% jitter, which doubles with each retry up to 2 s; and only UNAVAILABLE is retried.
   * @defaultValue the service config's policy; if there is none, the default policy, for methods that are safe to repeat
   */
  readonly retry?:
    | {
        /** Maximum number of attempts, including the original, 2 or more; values above 5 are reduced to 5. @defaultValue 4 */
        readonly maxAttempts?: number | undefined;
        /** Backoff before the first retry in milliseconds, more than 0, with ±20% jitter. @defaultValue 100 */
        readonly initialBackoffMs?: number | undefined;
        /** Maximum backoff in milliseconds, more than 0, before jitter. @defaultValue 2000 */
        readonly maxBackoffMs?: number | undefined;
        /** Status codes that are retried, at least one. @defaultValue ['UNAVAILABLE'] */
        readonly retryableStatusCodes?: readonly StatusName[] | undefined;
      }
    | undefined;
  /**
   * Gives each call a key, with which it has one effect however often it is sent, if its server has an `@Once()` handler: a lost call is sent
   * again, and gets the answer of the first. With `true`, each call has a random key; a function returns that of a request, 1 to 255
   * characters from `!` to `~`, and then further calls with the same key get the answer, too. Calls of servers without the feature, which the
   * first call finds out, are as without the option. `retry` then says how often and after which codes, and no longer makes the method safe
   * to repeat. Has no effect on streams, and none on `transport: 'grpc-js'`. See docs/guides/writes.md.
   * @defaultValue false
   */
  readonly once?: boolean | ((request: never) => string) | undefined;
  /**
   * Hedges calls of a method that is safe to repeat. Another attempt is sent if no response arrives within this number of milliseconds
   * (more than 0), or within this percentile (at least 5 ms) of the latency of recent first attempts. With a percentile, slow attempts are
   * hedged only after enough attempts have been measured: 50 for 'p90', 100 for 'p95', 500 for 'p99'. The option replaces the
   * `hedgingDelay` of a `hedgingPolicy`. Without such a policy, calls are hedged with the attempts and status codes of the method's retry
   * policy. The option has no effect on request streams. `false` disables the option, even if a less specific pattern sets it; a
   * `hedgingPolicy` then keeps its own delay.
   * @defaultValue none
   */
  readonly hedge?: 'p90' | 'p95' | 'p99' | number | false | undefined;
}

/** HTTP/2 keepalive. If pings are too frequent, servers may reject them with `too_many_pings`. */
export interface KeepaliveOptions {
  /**
   * Interval between two pings in milliseconds, 0 or more; 0 disables pings. Any other value below 10,000 is raised to 10,000, with a
   * warning. `grpc.keepalive_time_ms` in `channelOptions` is not raised.
   * @defaultValue off
   */
  readonly keepaliveTimeMs?: number | undefined;
  /**
   * Time in milliseconds, from 1 to 2,147,483,647, in which some byte must arrive after a ping; otherwise, the connection is closed. It is
   * longer by 20 ms for each KB that was sent since the latest answer to a ping, up to 4 MB.
   * @defaultValue 20000
   */
  readonly keepaliveTimeoutMs?: number | undefined;
  /** Sends pings even while no call is open. @defaultValue false */
  readonly keepalivePermitWithoutCalls?: 0 | 1 | boolean | undefined;
}

export const DEFAULT_CLIENT_SETTINGS = {
  outageGraceMs: 5_000,
  maxWaitingCalls: 10_000,
  /** Maximum number of request bytes of all calls that wait during an outage; enough for 1,000 calls of 400 KB. */
  maxWaitingBytes: 400 * 1024 * 1024,
  loadBalancing: 'pick_first',
  connectTimeoutMs: 20_000,
  idleMs: 200_000,
  dnsRefreshMs: 5_000,
  prefetch: 16,
  /** Time without a read after which a stream that `for await` opened is reported. */
  unreadStreamWarningMs: 60_000,
} as const;

/** Minimum interval between two HTTP/2 pings in milliseconds, as in gRPC (gRFC A8). Smaller values are raised to this interval. */
export const MIN_KEEPALIVE_TIME_MS = 10_000;

/** Maximum share by which each client randomly lengthens or shortens the outage grace period. */
export const OUTAGE_GRACE_JITTER = 0.1;
