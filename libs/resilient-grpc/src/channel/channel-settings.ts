import type { ChannelCredentials, ChannelOptions } from '@grpc/grpc-js';
import type { Transport } from '../call/method.js';
import type { EjectionPolicy } from '../policy/ejection/ejection-policy.js';

/** Channel settings that a live service config may change. */
export interface BalancingSettings {
  /** Load-balancing policies, most preferred first, in the form of `loadBalancingConfig` in a service config. */
  readonly loadBalancing: readonly Readonly<Record<string, unknown>>[];
  /** Minimum interval between two periodic lookups of the target's name; `undefined` if the name is resolved only on demand. */
  readonly dnsRefreshMs?: number | undefined;
  /** Full name of the service whose health is watched on each connection (gRFC A17); `undefined` if health is not checked. */
  readonly healthService?: string | undefined;
  readonly maxConnectionsPerEndpoint: number;
}

/** Settings of a managed channel: complete, validated, and frozen. */
export interface ChannelSettings extends BalancingSettings {
  readonly target: string;
  readonly transport: Transport;
  readonly doctorCommand?: string | undefined;
  readonly credentials: CredentialsSource;
  /** Maximum time that calls without `waitForReady` wait during an outage, with the ±10% jitter applied. */
  readonly outageGraceMs: number;
  /** Milliseconds after READY within which calls that waited during an outage are sent. A long wait extends this bound. */
  readonly releaseWithinMs: number;
  readonly maxWaitingCalls: number;
  /** Maximum total size of the requests that wait during an outage, in bytes. */
  readonly maxWaitingBytes: number;
  readonly connection: 'on-demand' | 'warm';
  /** Initial timeout of an attempt to connect. The timeout grows while attempts time out. */
  readonly connectTimeoutMs: number;
  readonly maxConnectionAgeMs: number | undefined;
  /** Ejection rules. If `undefined`, the rules of outlier detection in `loadBalancing` apply, if present. */
  readonly ejection?: EjectionPolicy | undefined;
  /** Options for grpc-js: the library's, overridden by the user's. They include keepalive, idle timeout, and size limits. */
  readonly channelOptions: ChannelOptions;
}

export interface CredentialsSource {
  readonly current: ChannelCredentials;
  /** 'expired on …' or 'is not valid before …' if this client's own certificate is not valid now. */
  readonly certificateProblem?: string | undefined;
  /** Calls `rotated` after each change of `current`. Returns a function that removes the listener. */
  watch(rotated: () => void): () => void;
  close(): void;
}
