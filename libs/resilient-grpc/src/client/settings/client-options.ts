import type { ChannelCredentials, ChannelOptions } from '@grpc/grpc-js';
import type { Observable } from 'rxjs';
import type { TlsOptions } from '../../channel/tls/tls-material.js';
import type { CircuitBreakerOptions } from '../../policy/circuit-breaker/circuit-breaker-policy.js';
import type { LoadBalancingConfig, ServiceConfig } from '../../policy/service-config/service-config.js';
import type { MetadataFunction } from '../interceptors/metadata-source.js';
import type { GrpcClientInterceptor, GrpcClientInterceptorClass } from '../interceptors/outgoing-call.js';
import type { MetadataInput } from '../resilient-types.js';

/** Settings of a client that may stand once for all (`forRoot({ defaults })`) or for one. Client over defaults, key by key. */
export interface GrpcClientDefaults {
  /**
   * Deadline in milliseconds, more than 0, of calls that answer once (unary, client streaming). Never of response streams.
   * @defaultValue none
   */
  readonly timeoutMs?: number | undefined;
  /**
   * Longest silence of a response stream in milliseconds, more than 0, while its reader wants messages: before the first one,
   * and between two. Then the stream fails UNAVAILABLE, `reason: 'stream-idle'`; `resumable` goes on elsewhere.
   * @defaultValue none
   */
  readonly streamIdleTimeoutMs?: number | undefined;
  /**
   * A stream that is read by `for await` and from which nobody has asked for a message for so many milliseconds, more than 0, is
   * told once in the log and as an event; `Infinity`: never. Nothing is ended.
   * @defaultValue 60000
   */
  readonly unreadStreamWarningMs?: number | undefined;
  /** Remembers where in the code each stream was opened: for `activeCalls()` and the warning of a stream that nobody reads. @defaultValue false */
  readonly traceStreams?: boolean | undefined;
  /**
   * How long calls wait for a lost channel, in milliseconds; then they fail at once. 0: they never wait. Each client takes it
   * ±10 %, so that a fleet does not give up in one moment. `methods[…].waitForReady` chooses otherwise by method.
   * @defaultValue 5000
   */
  readonly outageGraceMs?: number | undefined;
  /**
   * Calls that may wait at once in an outage, 0 or more; one more fails with `reason: 'too-many-waiting'`. Each takes at most
   * 3 KiB of memory besides its request. No limit applies while the channel connects for the first time, or again after idling.
   * @defaultValue 10000
   */
  readonly maxWaitingCalls?: number | undefined;
  /**
   * Bytes of requests that may wait at once in an outage, 0 or more; a call that exceeds them fails with
   * `reason: 'too-many-waiting'`. The process needs that memory beside its own. The default holds 1,000 calls of 400 KB.
   * @defaultValue 419430400
   */
  readonly maxWaitingBytes?: number | undefined;
  /**
   * Calls of this client that may run at once, 1 or more; the others are queued, until their deadline. A call that waits for the
   * channel does not count.
   * @defaultValue no limit
   */
  readonly maxConcurrentCalls?: number | undefined;
  /** Calls that may be queued at one limit, 0 or more; any more fail at once, as RESOURCE_EXHAUSTED. @defaultValue 1000 */
  readonly maxQueuedCalls?: number | undefined;
  /** Upper bound of any `maxAttempts`, 2 or more; a policy that asks for more gets this. @defaultValue 5 */
  readonly maxAttemptsLimit?: number | undefined;
  /**
   * Treats a stream that the server reset with REFUSED_STREAM as not processed, and resends it once for any method, as in gRFC A6. Leave
   * it off behind a proxy: HAProxy sends REFUSED_STREAM for requests that its backend executed.
   * @defaultValue false
   */
  readonly trustRefusedStreams?: boolean | undefined;
  /**
   * 'on-demand': an idle channel stays idle until a call needs it. 'warm': connected from creation on, and again whenever it
   * goes idle, by a new connection.
   * @defaultValue 'on-demand'
   */
  readonly connection?: 'on-demand' | 'warm' | undefined;
  /** A policy by its name, or `loadBalancingConfig` as a service config has it. @defaultValue 'pick_first' */
  readonly loadBalancing?: 'pick_first' | 'round_robin' | LoadBalancingConfig | undefined;
  /**
   * Longest attempt to connect, TLS included, in milliseconds; grows ×1.6 with each that timed out. While a peer accepts the
   * connection and stays silent, an outage begins only after this time: calls wait for it and for `outageGraceMs`, up to their
   * deadline. A warning is logged after 1.5 s.
   * @defaultValue 20000
   */
  readonly connectTimeoutMs?: number | undefined;
  /**
   * Closes a connection that carried no call for this many milliseconds (1000 or more), before balancers drop it silently. The
   * next call opens another.
   * @defaultValue 200000
   */
  readonly connectionIdleTimeoutMs?: number | undefined;
  /** Replaces a connection older than so many milliseconds (1000 or more) by a new one. @defaultValue none */
  readonly maxConnectionAgeMs?: number | undefined;
  /** grpc-js's own credentials. Not together with `tls`. @defaultValue insecure */
  readonly credentials?: ChannelCredentials | undefined;
  /** TLS from files, PEM text or buffers; `{}` trusts the system's authorities. Not together with `credentials`. */
  readonly tls?: TlsOptions | undefined;
  /** HTTP/2 pings, by Nest's keys. Joined with the defaults' key by key. @defaultValue off */
  readonly keepalive?: KeepaliveOptions | undefined;
  /** Bytes; −1: no limit. @defaultValue no limit */
  readonly maxSendMessageLength?: number | undefined;
  /** Bytes; −1: no limit. @defaultValue 4 MiB */
  readonly maxReceiveMessageLength?: number | undefined;
  /**
   * grpc-js's channel options, and `interceptors`. They win over the other options given in the same place, unchanged, and are
   * joined with the defaults' key by key. An option of a client wins over the `channelOptions` of the defaults. What this library
   * must own (retries, service config, subchannel pool) is refused by name.
   */
  readonly channelOptions?: ChannelOptions | undefined;
  /**
   * Sent with every call. A function is asked once per attempt, and waited for: a token is then a fresh one. Joined with the
   * defaults' key by key.
   */
  readonly metadata?: MetadataInput | MetadataFunction | undefined;
  /**
   * See calls and attempts before they are sent, and calls when they end. Instances or classes; a class is taken from the
   * application's container, and must be a singleton there. Those of the defaults come first, then the client's.
   */
  readonly interceptors?: readonly (GrpcClientInterceptor | GrpcClientInterceptorClass)[] | undefined;
  /** As `propagate` of forRoot, joined with it key by key; `false` switches it off for this client. @defaultValue forRoot's */
  readonly propagate?: false | PropagationOptions | undefined;
}

/** Settings of one client: what configuration decides, where the contract is what code decides. */
export interface GrpcClientSettings extends GrpcClientDefaults {
  /** Any grpc-js target: 'orders:50051', 'dns:///orders:50051', 'unix:/run/o.sock', 'xds:///orders'. */
  readonly url: string;
  /**
   * By method: 'Get', 'Orders/Get', 'orders.v1.Orders/Get', 'Get*', '*'. The most exact wins, key by key. A pattern that
   * matches no method fails the start.
   */
  readonly methods?: Readonly<Record<string, MethodOptions>> | undefined;
  /**
   * The standard document (gRFC A2, A6), as an object or as its JSON text. Its `timeout` and ours: the lesser holds. An Observable
   * of such documents changes the policies while the client lives: a call keeps what it began with, an update that does not hold is
   * logged and the one before stays.
   */
  readonly serviceConfig?: ServiceConfig | string | Observable<ServiceConfig | string> | undefined;
}

/** What an inbound call hands on to the calls that are made while it is served. Nothing, unless it is named here. */
export interface PropagationOptions {
  /** The inbound deadline (of a gRPC call, or an HTTP header `grpc-timeout`) bounds outgoing calls. @defaultValue false */
  readonly deadline?: boolean | undefined;
  /** Outgoing calls end when a gRPC caller cancels, or an HTTP client goes away before the response ended. @defaultValue false */
  readonly cancellation?: boolean | undefined;
  /**
   * Keys of metadata, or HTTP headers, that are handed on as they are, as 'x-request-id'. 'authorization' and 'cookie' are handed
   * on only where they are named; keys that are gRPC's or HTTP's own are refused.
   * @defaultValue none
   */
  readonly metadata?: readonly string[] | undefined;
}

/** What the service config's standard lacks, by method. */
export interface MethodOptions {
  /** Deadline of the whole call in milliseconds, more than 0; here also for response streams. @defaultValue the client's */
  readonly timeoutMs?: number | undefined;
  /**
   * Bound of one attempt in milliseconds, more than 0: then it is given up, and, where the method is safe to repeat, made again.
   * Does not run while a call waits for the channel. Sent to the server of a unary method as `grpc-timeout`, unless the call's
   * deadline is earlier.
   * @defaultValue none
   */
  readonly attemptTimeoutMs?: number | undefined;
  /**
   * Safe to repeat: a call that may have reached the server is sent again by the retry policy. `false` switches every such
   * policy off for it.
   * @defaultValue the proto's `idempotency_level`
   */
  readonly idempotent?: boolean | undefined;
  /**
   * `undefined`: a call waits for a lost channel within the outage grace; `false`: it fails at once (gRPC's default); `true`:
   * it waits until its deadline.
   * @defaultValue undefined
   */
  readonly waitForReady?: boolean | undefined;
  /** Longest silence of a response stream in milliseconds, more than 0. @defaultValue the client's */
  readonly streamIdleTimeoutMs?: number | undefined;
  /** Messages read ahead of a slow `for await`, 1 or more. @defaultValue 16 */
  readonly prefetch?: number | undefined;
  /**
   * What becomes of an open call at shutdown. 'finish': it may finish within `drain.timeoutMs`, then it fails UNAVAILABLE,
   * `reason: 'draining'`. 'complete': its stream ends at once, cleanly, as if the server had ended it. 'fail': it fails at once.
   * @defaultValue 'finish'; 'complete' inside `resumable()`
   */
  readonly onDrain?: 'finish' | 'complete' | 'fail' | undefined;
  /**
   * Bytes of request messages, more than 0, each with 128 of its own, that an Observable may push while some of an earlier turn of
   * the event loop still wait for the wire; one more and the call fails RESOURCE_EXHAUSTED. What it pushes in one turn otherwise
   * does not count. What can be iterated is pulled, and never runs ahead.
   * @defaultValue 16777216
   */
  readonly maxQueuedRequestBytes?: number | undefined;
  /** Refuses attempts at once while too many of the latest have failed; `{}` for its defaults. @defaultValue none */
  readonly circuitBreaker?: CircuitBreakerOptions | undefined;
  /** Calls of each method that may run at once, 1 or more, beside the client's limit. @defaultValue no limit */
  readonly maxConcurrentCalls?: number | undefined;
}

/** HTTP/2 keepalive. Servers may answer pings that are too frequent with `too_many_pings`. */
export interface KeepaliveOptions {
  /**
   * Between two pings; less than 10 000 is raised to it, with a warning. 0: off. `grpc.keepalive_time_ms` in `channelOptions` is not
   * raised.
   * @defaultValue off
   */
  readonly keepaliveTimeMs?: number | undefined;
  /** For the answer to a ping; then the connection is given up. @defaultValue 20000 */
  readonly keepaliveTimeoutMs?: number | undefined;
  /** Also while no call is open. @defaultValue false */
  readonly keepalivePermitWithoutCalls?: number | boolean | undefined;
}

/** What holds where nothing is said. */
export const DEFAULT_CLIENT_SETTINGS = {
  outageGraceMs: 5_000,
  maxWaitingCalls: 10_000,
  maxWaitingBytes: 400 * 1024 * 1024,
  maxAttemptsLimit: 5,
  connection: 'on-demand',
  loadBalancing: 'pick_first',
  connectTimeoutMs: 20_000,
  connectionIdleTimeoutMs: 200_000,
  prefetch: 16,
  maxQueuedRequestBytes: 16 * 1024 * 1024,
  unreadStreamWarningMs: 60_000,
} as const;

/** Less between two HTTP/2 pings is raised to this: gRPC's own bound (gRFC A8). */
export const MIN_KEEPALIVE_TIME_MS = 10_000;

/** Each client takes its outage grace ± this share. */
export const OUTAGE_GRACE_JITTER = 0.1;
