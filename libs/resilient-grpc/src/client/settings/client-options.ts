import type { ChannelCredentials, ChannelOptions } from '@grpc/grpc-js';
import type { LoadBalancingConfig, ServiceConfig } from '../../policy/service-config/service-config.js';
import type { TlsOptions } from '../../channel/tls-material.js';
import type { MetadataInput } from '../resilient-types.js';

/** Settings of a client that may stand once for all (`forRoot({ defaults })`) or for one. Client over defaults, key by key. */
export interface GrpcClientDefaults {
  /**
   * Deadline in milliseconds, more than 0, of calls that answer once (unary, client streaming). Never of response streams.
   * @defaultValue none
   */
  readonly timeoutMs?: number | undefined;
  /**
   * How long calls wait for a lost channel, in milliseconds; then they fail at once. 0: they never wait. Each client takes it
   * ±10 %, so that a fleet does not give up in one moment. `methods[…].waitForReady` chooses otherwise by method.
   * @defaultValue 5000
   */
  readonly outageGraceMs?: number | undefined;
  /** Calls that may wait at once, 0 or more; also bounded by 16 MiB of request bytes. @defaultValue 10000 */
  readonly maxWaitingCalls?: number | undefined;
  /** Upper bound of any `maxAttempts`, 2 or more; a policy that asks for more gets this. @defaultValue 5 */
  readonly maxAttemptsLimit?: number | undefined;
  /**
   * 'on-demand': an idle channel stays idle until a call needs it. 'warm': connected from creation on, and again whenever it
   * goes idle.
   * @defaultValue 'on-demand'
   */
  readonly connection?: 'on-demand' | 'warm' | undefined;
  /** A policy by its name, or `loadBalancingConfig` as a service config has it. @defaultValue 'pick_first' */
  readonly loadBalancing?: 'pick_first' | 'round_robin' | LoadBalancingConfig | undefined;
  /** Longest attempt to connect, TLS included, in milliseconds; grows ×1.6 with each that timed out. @defaultValue 20000 */
  readonly connectTimeoutMs?: number | undefined;
  /**
   * Closes a connection that carried no call for so many milliseconds (1000 or more), before balancers drop it in silence.
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
   * grpc-js's channel options, and `interceptors`. They win over ours key by key, and are joined with the defaults' key by
   * key. What this library must own (retries, service config, subchannel pool) is refused by name.
   */
  readonly channelOptions?: ChannelOptions | undefined;
  /** Sent with every call. Joined with the defaults' key by key. */
  readonly metadata?: MetadataInput | undefined;
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
  /** The standard document (gRFC A2, A6), as an object or as its JSON text. Its `timeout` and ours: the lesser holds. */
  readonly serviceConfig?: ServiceConfig | string | undefined;
}

/** What the service config's standard lacks, by method. */
export interface MethodOptions {
  /** Deadline of the whole call in milliseconds, more than 0; here also for response streams. @defaultValue the client's */
  readonly timeoutMs?: number | undefined;
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
}

/** HTTP/2 keepalive. Servers may answer pings that are too frequent with `too_many_pings`. */
export interface KeepaliveOptions {
  /** Between two pings; less than 10 000 is raised to it, with a warning. 0: off. @defaultValue off */
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
  maxWaitingBytes: 16 * 1024 * 1024,
  maxAttemptsLimit: 5,
  connection: 'on-demand',
  loadBalancing: 'pick_first',
  connectTimeoutMs: 20_000,
  connectionIdleTimeoutMs: 200_000,
} as const;

/** Less between two HTTP/2 pings is raised to this: gRPC's own bound (gRFC A8). */
export const MIN_KEEPALIVE_TIME_MS = 10_000;

/** Each client takes its outage grace ± this share. */
export const OUTAGE_GRACE_JITTER = 0.1;
