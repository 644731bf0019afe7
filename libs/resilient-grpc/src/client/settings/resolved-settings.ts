import type { Interceptor, Metadata } from '@grpc/grpc-js';
import type { MethodDescriptor } from '../../call/method.js';
import type { Propagation } from '../../call/inbound-call.js';
import type { BalancingSettings, ChannelSettings } from '../../channel/channel-settings.js';
import type { CircuitBreakerPolicy } from '../../policy/circuit-breaker/circuit-breaker.js';
import type { ConcurrencyPolicy } from '../../policy/concurrency/permit-queue.js';
import type { HedgingPolicy, RetryPolicy } from '../../policy/retry/retry-policy.js';
import type { HedgingPercentile } from '../../policy/hedging/measured-delay.js';
import type { ParsedServiceConfig, RetryThrottling } from '../../policy/service-config/service-config.js';
import type { CallHooks, MetadataSource } from '../interceptors/call-hooks.js';
import type { DEFAULT_CLIENT_SETTINGS, MethodOptions } from './client-options.js';

/** Settings of one client: merged with the defaults, validated, and frozen. */
export interface ResolvedClientSettings {
  readonly name: string;
  readonly target: string;
  /** Services by full name, each with its methods by name. */
  readonly services: ReadonlyMap<string, ReadonlyMap<string, MethodDescriptor>>;
  /** Policy of each method, by path. If `live` is present, these are the initial policies. */
  readonly policies: ReadonlyMap<string, ResolvedMethodPolicy>;
  /** Returns the policy of a method that is not in the contract, for a call that starts now. */
  readonly unlistedPolicy: (method: MethodDescriptor) => ResolvedMethodPolicy;
  readonly retryThrottling: RetryThrottling | undefined;
  readonly maxConcurrentCalls?: ConcurrencyPolicy | undefined;
  readonly channel: ChannelSettings;
  /** Maximum bytes of requests that are kept for further attempts: per call, and for all calls of the client together. */
  readonly replayBytes: { readonly perCall: number; readonly perClient: number };
  readonly rejectInvalidMessages: boolean;
  readonly trustRefusedStreams: boolean;
  /** Merged into the metadata of every call. */
  readonly metadata: Metadata | undefined;
  /**
   * Provides the client's metadata once per attempt; the call's metadata overrides it. If a source is present, `metadata` is `undefined`,
   * because the source includes the static metadata.
   */
  readonly metadataSource?: MetadataSource | undefined;
  /** The combined interceptors; `undefined` if there are none. */
  readonly hooks?: CallHooks | undefined;
  /** Settings for the data that calls inherit from inbound calls; `undefined` if inbound calls are ignored. */
  readonly propagation?: Propagation | undefined;
  /** Present if the service config is an Observable. Policies may then change between calls. Closed with the client. */
  readonly live?: LivePolicies | undefined;
  /** grpc-js's interceptors, from `channelOptions.interceptors`. */
  readonly interceptors: readonly Interceptor[];
}

/** Returns `settings` with the channel settings for the live service config; unchanged if no live service config has arrived. */
export function withInitialServiceConfig(settings: ResolvedClientSettings): ResolvedClientSettings {
  const { live, channel } = settings;
  if (live?.config === undefined) return settings;
  return Object.freeze({ ...settings, channel: Object.freeze({ ...channel, ...live.balancing }) });
}

/** Policies of methods, and settings of the channel, that can change while a client is open. */
export interface LivePolicies {
  /** Resolves when startup no longer needs to wait; rejects if startup must fail. */
  readonly first: Promise<void>;
  /** The current service config; `undefined` before the first one. */
  readonly config: ParsedServiceConfig | undefined;
  /** The channel settings for the current service config. The client's own options override the service config. */
  readonly balancing: BalancingSettings;
  /**
   * Starts without waiting for `first`, for a client that is created outside of startup.
   * @throws GrpcConfigurationError if `first` has already been rejected
   */
  start(): void;
  /** Returns the policy of a method for a call that starts now. */
  policyOf(path: string): ResolvedMethodPolicy | undefined;
  /** Calls `listener` with each later service config. Returns a function that removes the listener. */
  onChange(listener: (config: ParsedServiceConfig) => void): () => void;
  close(): void;
}

export type ResolvedMethodOptions = {
  readonly [K in keyof Required<MethodOptions>]: K extends 'circuitBreaker'
    ? CircuitBreakerPolicy | undefined
    : K extends 'retry'
      ? RetryPolicy | undefined
      : K extends 'maxConcurrentCalls'
        ? ConcurrencyPolicy | undefined
        : K extends 'hedge'
          ? Exclude<MethodOptions[K], false>
          : K extends keyof typeof DEFAULT_CLIENT_SETTINGS
            ? NonNullable<MethodOptions[K]>
            : MethodOptions[K];
};

/** Policy of one method. If `onDrain` is `undefined`, a call of a resumable stream uses 'complete', and any other call uses 'finish'. */
export interface ResolvedMethodPolicy extends Omit<ResolvedMethodOptions, 'idempotent' | 'retry' | 'hedge'> {
  /** Percentile that the hedging delay follows. */
  readonly hedgingDelay: HedgingPercentile | undefined;
  readonly safeToRepeat: boolean;
  /**
   * Reason for `safeToRepeat` in the startup log line: 'proto idempotency_level', 'methods["Get"].idempotent', 'methods["Get"].retry', or 'serviceConfig
   * retryPolicy' (or hedgingPolicy). The empty string if the method is not safe to repeat.
   */
  readonly safeBecause: string;
  /** Present if and only if the method is safe to repeat and not hedged. */
  readonly retry: RetryPolicy | undefined;
  /** Replaces retries; present only if the method is safe to repeat. */
  readonly hedging?: HedgingPolicy | undefined;
  readonly maxRequestMessageBytes: number | undefined;
  readonly maxResponseMessageBytes: number | undefined;
}
