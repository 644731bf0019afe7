import type { StatusName } from '../../status/status-code.js';
import type { HedgingPolicy } from '../hedging/hedging-policy.js';
import type { RetryPolicy } from '../retry/retry-policy.js';

/** A list of load-balancing policies, the first one that is known is used. */
export type LoadBalancingConfig = readonly Readonly<Record<string, unknown>>[];

/** `retryThrottling` of a service config: one token bucket for a whole channel. */
export interface RetryThrottling {
  /** 1 to 1000. */
  readonly maxTokens: number;
  /** What a successful call gives back; three decimals count. */
  readonly tokenRatio: number;
}

/**
 * gRPC's service config in proto3 JSON (gRFC A2, A6). Loose on purpose: a file imported with `with { type: 'json' }` fits.
 * Values are checked at the start.
 */
export interface ServiceConfig {
  readonly loadBalancingConfig?: LoadBalancingConfig | undefined;
  readonly methodConfig?: readonly MethodConfig[] | undefined;
  readonly retryThrottling?: RetryThrottling | undefined;
}

/** Settings of some methods, as they are written. */
export interface MethodConfig {
  readonly name: readonly { readonly service?: string | undefined; readonly method?: string | undefined }[];
  readonly timeout?: string | undefined;
  readonly waitForReady?: boolean | undefined;
  readonly maxRequestMessageBytes?: number | undefined;
  readonly maxResponseMessageBytes?: number | undefined;
  readonly retryPolicy?:
    | {
        readonly maxAttempts: number;
        readonly initialBackoff: string;
        readonly maxBackoff: string;
        readonly backoffMultiplier: number;
        readonly retryableStatusCodes: readonly (StatusName | (string & {}) | number)[];
      }
    | undefined;
  readonly hedgingPolicy?:
    | {
        readonly maxAttempts: number;
        readonly hedgingDelay?: string | undefined;
        readonly nonFatalStatusCodes?: readonly (StatusName | (string & {}) | number)[] | undefined;
      }
    | undefined;
}

/** What a method config applies to: a method, a service ('' as method), or everything ('' as both). */
export interface ParsedMethodName {
  readonly service: string;
  readonly method: string;
}

/** A method config that holds: lengths in milliseconds, codes as numbers. */
export interface ParsedMethodConfig {
  readonly names: readonly ParsedMethodName[];
  readonly timeoutMs?: number;
  readonly waitForReady?: boolean;
  readonly maxRequestMessageBytes?: number;
  readonly maxResponseMessageBytes?: number;
  readonly retry?: RetryPolicy;
  readonly hedging?: HedgingPolicy;
}

/** A service config that holds. */
export interface ParsedServiceConfig {
  readonly loadBalancingConfig?: LoadBalancingConfig;
  readonly methodConfig: readonly ParsedMethodConfig[];
  readonly retryThrottling?: RetryThrottling;
}
