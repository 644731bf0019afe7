import type { Interceptor, Metadata } from '@grpc/grpc-js';
import type { MethodDescriptor } from '../../call/method.js';
import type { Propagation } from '../../call/inbound-call.js';
import type { ChannelSettings } from '../../channel/channel-settings.js';
import type { ConcurrencyPolicy } from '../../policy/concurrency/permit-queue.js';
import type { RetryThrottling } from '../../policy/service-config/service-config.js';
import type { CallHooks, MetadataSource } from '../interceptors/call-hooks.js';
import type { LiveServiceConfig } from './live-service-config.js';
import type { ResolvedMethodPolicy } from './resolve-method-policies.js';

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
  readonly live?: LiveServiceConfig | undefined;
  /** grpc-js's interceptors, from `channelOptions.interceptors`. */
  readonly interceptors: readonly Interceptor[];
}

/** Returns `settings` with the channel settings for the live service config; unchanged if no live service config has arrived. */
export function withInitialServiceConfig(settings: ResolvedClientSettings): ResolvedClientSettings {
  const { live, channel } = settings;
  if (live?.config === undefined) return settings;
  return Object.freeze({ ...settings, channel: Object.freeze({ ...channel, ...live.balancing }) });
}
