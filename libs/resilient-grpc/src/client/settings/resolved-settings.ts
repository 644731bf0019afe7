import type { Interceptor, Metadata } from '@grpc/grpc-js';
import type { MethodDescriptor } from '../../call/method.js';
import type { Propagation } from '../../call/propagation.js';
import type { ChannelSettings } from '../../channel/channel-settings.js';
import type { CircuitBreakerPolicy } from '../../policy/circuit-breaker/circuit-breaker-policy.js';
import type { HedgingPolicy } from '../../policy/hedging/hedging-policy.js';
import type { RetryPolicy } from '../../policy/retry/retry-policy.js';
import type { ParsedServiceConfig, RetryThrottling } from '../../policy/service-config/service-config.js';
import type { CallHooks } from '../interceptors/call-hooks.js';
import type { MetadataSource } from '../interceptors/metadata-source.js';

/** Settings of one client: complete, validated, frozen. Nothing below this has a default of its own. */
export interface ResolvedClientSettings {
  readonly name: string;
  readonly target: string;
  /** Services by full name, each with its methods as the definition has them. */
  readonly services: ReadonlyMap<string, ReadonlyMap<string, MethodDescriptor>>;
  /** Policy of each method, by path; where `live` is present, those of the beginning. */
  readonly policies: ReadonlyMap<string, ResolvedMethodPolicy>;
  readonly retryThrottling: RetryThrottling | undefined;
  readonly maxConcurrentCalls?: number | undefined;
  readonly maxQueuedCalls?: number | undefined;
  readonly channel: ChannelSettings;
  /** Bytes of request streams that are kept for further attempts: of one call, and of all together. */
  readonly replayBytes: { readonly perCall: number; readonly perClient: number };
  readonly unreadStreamWarningMs: number;
  readonly traceStreams: boolean;
  readonly trustRefusedStreams: boolean;
  /** Joined to the metadata of every call. */
  readonly metadata: Metadata | undefined;
  /** Asked once per attempt, and joined under the call's; then `metadata` is undefined, as it is in it. */
  readonly metadataSource?: MetadataSource | undefined;
  /** The interceptors, composed; undefined: there are none. */
  readonly hooks?: CallHooks | undefined;
  /** What inbound calls hand on; undefined: they are not looked for. */
  readonly propagation?: Propagation | undefined;
  /** Present where the service config is an Observable: policies change between calls. Closed with the client. */
  readonly live?: LivePolicies | undefined;
  /** grpc-js's own, from `channelOptions.interceptors`. */
  readonly interceptors: readonly Interceptor[];
}

/** Policies that change while a client lives. */
export interface LivePolicies {
  /** Settles when the start need not wait any longer; rejects where it must fail. */
  readonly first: Promise<void>;
  /** The service config in force; undefined: none came yet. */
  readonly config: ParsedServiceConfig | undefined;
  /** Policy of a method, for a call that begins now. */
  policyOf(path: string): ResolvedMethodPolicy | undefined;
  /** Hears of each service config that comes into force. Returns how to stop. */
  onChange(listener: (config: ParsedServiceConfig) => void): () => void;
  close(): void;
}

/** Policy of one method, with the reasons that the start-up line tells. */
export interface ResolvedMethodPolicy {
  /** Deadline of the whole call, from its subscription; undefined: none. */
  readonly timeoutMs: number | undefined;
  readonly waitForReady: boolean | undefined;
  readonly safeToRepeat: boolean;
  /** 'proto idempotency_level', 'methods["Get"].idempotent', 'serviceConfig retryPolicy' (or hedgingPolicy), or '' when it is not. */
  readonly safeBecause: string;
  /** Present exactly when it is safe to repeat and not hedged. */
  readonly retry: RetryPolicy | undefined;
  /** Hedging instead of retries; present only where it is safe to repeat. */
  readonly hedging?: HedgingPolicy | undefined;
  readonly attemptTimeoutMs?: number | undefined;
  readonly streamIdleTimeoutMs: number | undefined;
  readonly prefetch: number;
  /** undefined: 'complete' for a stream that is resumed, 'finish' for any other call. */
  readonly onDrain: 'finish' | 'complete' | 'fail' | undefined;
  readonly maxQueuedRequestBytes: number;
  readonly circuitBreaker?: CircuitBreakerPolicy | undefined;
  readonly maxConcurrentCalls?: number | undefined;
  readonly maxRequestMessageBytes: number | undefined;
  readonly maxResponseMessageBytes: number | undefined;
}
