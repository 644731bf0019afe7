import type { ChannelCredentials, ChannelOptions } from '@grpc/grpc-js';

/** What a managed channel is made from: complete, validated, frozen. */
export interface ChannelSettings {
  readonly target: string;
  readonly credentials: CredentialsSource;
  /** How long calls wait in an outage; its ±10 % are in it. */
  readonly outageGraceMs: number;
  /** Time after READY within which calls that waited in an outage are sent. */
  readonly releaseWithinMs: number;
  /** Calls that may wait at once in an outage. */
  readonly maxWaitingCalls: number;
  /** Bytes of requests that may wait at once in an outage. */
  readonly maxWaitingBytes: number;
  readonly connection: 'on-demand' | 'warm';
  /** The child policies, as `loadBalancingConfig` of a service config has them. */
  readonly loadBalancing: readonly Readonly<Record<string, unknown>>[];
  /** Of the first attempt; grows while attempts time out. */
  readonly connectTimeoutMs: number;
  readonly maxConnectionAgeMs: number | undefined;
  /** Everything for grpc-js: ours with the user's over them; keepalive, idle timeout and limits are in here. */
  readonly channelOptions: ChannelOptions;
}

/** Credentials that may be rotated while the process runs. */
export interface CredentialsSource {
  readonly current: ChannelCredentials;
  /** Calls `rotated` after `current` has changed; returns how to stop. */
  watch(rotated: () => void): () => void;
  close(): void;
}
