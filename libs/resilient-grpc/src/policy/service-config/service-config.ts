import type { StatusName } from '../../status/status-code.js';
import type { HedgingPolicy, RetryPolicy } from '../retry/retry-policy.js';

/** List of load-balancing policies; the first supported one is used. */
export type LoadBalancingConfig = readonly Readonly<Record<string, unknown>>[];

/** `retryThrottling` of a service config: one token bucket per channel. */
export interface RetryThrottling {
  /** Size of the token bucket; above 0, at most 1000. Only three decimals are used. */
  readonly maxTokens: number;
  /** Number of tokens that each successful call returns to the bucket; 0.001 or more. Only three decimals are used. */
  readonly tokenRatio: number;
}

/**
 * gRPC service config in proto3 JSON (gRFC A2, A6). The type is loose, so that a file imported with `with { type: 'json' }` is
 * assignable. Values are validated at startup.
 */
export interface ServiceConfig {
  readonly loadBalancingConfig?: LoadBalancingConfig | undefined;
  readonly methodConfig?: readonly MethodConfig[] | undefined;
  readonly retryThrottling?: RetryThrottling | undefined;
  readonly healthCheckConfig?: HealthCheckConfig | undefined;
  readonly connectionScaling?: ConnectionScaling | undefined;
}

/** `connectionScaling` of a service config (gRFC A105). */
export interface ConnectionScaling {
  /** Maximum number of connections to one address, 1 or more. Values above 10 are reduced to 10, as gRFC A105 specifies. */
  readonly maxConnectionsPerSubchannel?: number | undefined;
}

/** `healthCheckConfig` of a service config (gRFC A17). */
export interface HealthCheckConfig {
  /** Full name of the service to watch; '' for the server as a whole. Health is not checked if no name is set. */
  readonly serviceName?: string | undefined;
}

/** Settings of one or more methods, as written in the service config. Durations are strings in seconds, such as '0.5s'. */
export interface MethodConfig {
  readonly name: readonly { readonly service?: string | undefined; readonly method?: string | undefined }[];
  /** Deadline of the whole call, above 0. Also applies to response streams. May have grpc-js's form. */
  readonly timeout?: string | { readonly seconds: number; readonly nanos: number } | undefined;
  readonly waitForReady?: boolean | undefined;
  /** Maximum size of a request message in bytes, 0 or more. Not enforced for calls with grpc-js interceptors. */
  readonly maxRequestMessageBytes?: number | undefined;
  /** Maximum size of a response message in bytes, 0 or more. Not enforced for calls with grpc-js interceptors. */
  readonly maxResponseMessageBytes?: number | undefined;
  readonly retryPolicy?:
    | {
        /**
         * Maximum number of attempts, including the original; 2 or more. Values above 5 are reduced to 5 (gRFC A6).
         */
        readonly maxAttempts: number;
        /** Delay before the first retry, above 0, with jitter. */
        readonly initialBackoff: string;
        /** Maximum delay before a retry, above 0. */
        readonly maxBackoff: string;
        /** Factor by which the delay grows with each retry, above 0. */
        readonly backoffMultiplier: number;
        /** Status codes that are retried, at least one. */
        readonly retryableStatusCodes: readonly (StatusName | (string & {}) | number)[];
      }
    | undefined;
  readonly hedgingPolicy?:
    | {
        /**
         * Maximum number of attempts, including the original; 2 or more. Values above 5 are reduced to 5 (gRFC A6).
         */
        readonly maxAttempts: number;
        /** Delay between two attempts, 0 or more. @defaultValue '0s' */
        readonly hedgingDelay?: string | undefined;
        /** Status codes after which the other attempts continue. @defaultValue none */
        readonly nonFatalStatusCodes?: readonly (StatusName | (string & {}) | number)[] | undefined;
      }
    | undefined;
}

/** Validated method config: durations in milliseconds, numeric status codes. */
export interface ParsedMethodConfig {
  /** Scopes: a method, a service (`method` is ''), or all methods (both are ''). */
  readonly names: readonly { readonly service: string; readonly method: string }[];
  readonly timeoutMs?: number;
  readonly waitForReady?: boolean;
  readonly maxRequestMessageBytes?: number;
  readonly maxResponseMessageBytes?: number;
  readonly retry?: RetryPolicy;
  readonly hedging?: HedgingPolicy;
}

export interface ParsedServiceConfig {
  readonly loadBalancingConfig?: LoadBalancingConfig;
  readonly methodConfig: readonly ParsedMethodConfig[];
  readonly retryThrottling?: RetryThrottling;
  readonly healthCheckConfig?: HealthCheckConfig;
  /** `connectionScaling.maxConnectionsPerSubchannel`, with its limit applied. */
  readonly maxConnectionsPerEndpoint?: number;
}

/**
 * Returns the config of a method: the one that names the method, else the one that names its service, else the one for all methods.
 * Configs are not merged (https://github.com/grpc/grpc/blob/master/doc/service_config.md).
 *
 * @param service full name, such as 'orders.v1.Orders'
 */
export function lookupMethodConfig(
  config: ParsedServiceConfig,
  service: string,
  method: string,
): ParsedMethodConfig | undefined {
  return find(config, service, method) ?? find(config, service, '') ?? find(config, '', '');
}

function find(config: ParsedServiceConfig, service: string, method: string): ParsedMethodConfig | undefined {
  return config.methodConfig.find(({ names }) =>
    names.some((name) => name.service === service && name.method === method),
  );
}
