import type { Interceptor, Metadata } from '@grpc/grpc-js';
import type { ChannelSettings } from '../../channel/channel-settings.js';
import type { MethodDescriptor } from '../../call/method.js';
import type { CircuitBreakerPolicy } from '../../policy/circuit-breaker/circuit-breaker-policy.js';
import type { HedgingPolicy } from '../../policy/hedging/hedging-policy.js';
import type { RetryPolicy } from '../../policy/retry/retry-policy.js';
import type { RetryThrottling } from '../../policy/service-config/service-config.js';

/** Settings of one client: complete, validated, frozen. Nothing below this has a default of its own. */
export interface ResolvedClientSettings {
  readonly name: string;
  readonly target: string;
  /** Services by full name, each with its methods as the definition has them. */
  readonly services: ReadonlyMap<string, ReadonlyMap<string, MethodDescriptor>>;
  /** Policy of each method, by path. */
  readonly policies: ReadonlyMap<string, ResolvedMethodPolicy>;
  readonly retryThrottling: RetryThrottling | undefined;
  readonly maxConcurrentCalls?: number | undefined;
  readonly maxQueuedCalls?: number | undefined;
  readonly channel: ChannelSettings;
  /** Joined to the metadata of every call. */
  readonly metadata: Metadata | undefined;
  /** grpc-js's own, from `channelOptions.interceptors`. */
  readonly interceptors: readonly Interceptor[];
}

/** Policy of one method, with the reasons that the start-up line tells. */
export interface ResolvedMethodPolicy {
  /** Deadline of the whole call, from its subscription; undefined: none. */
  readonly timeoutMs: number | undefined;
  readonly waitForReady: boolean | undefined;
  readonly safeToRepeat: boolean;
  /** 'proto idempotency_level', 'methods["Get"].idempotent', 'serviceConfig retryPolicy', or '' when it is not. */
  readonly safeBecause: string;
  /** Present exactly when it is safe to repeat. */
  readonly retry: RetryPolicy | undefined;
  /** Hedging instead of retries; present only where it is safe to repeat. */
  readonly hedging?: HedgingPolicy | undefined;
  readonly attemptTimeoutMs?: number | undefined;
  readonly circuitBreaker?: CircuitBreakerPolicy | undefined;
  readonly maxConcurrentCalls?: number | undefined;
  readonly maxRequestMessageBytes: number | undefined;
  readonly maxResponseMessageBytes: number | undefined;
}
