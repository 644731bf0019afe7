import * as v from 'valibot';
import type { MethodDescriptor } from '../../call/method.js';
import type { CircuitBreakerPolicy } from '../../policy/circuit-breaker/circuit-breaker.js';
import type { ConcurrencyPolicy } from '../../policy/concurrency/permit-queue.js';
import {
  type HedgingPolicy,
  DEFAULT_RETRY_POLICY,
  MAX_ATTEMPTS,
  type RetryPolicy,
} from '../../policy/retry/retry-policy.js';
import type { HedgingPercentile } from '../../policy/hedging/measured-delay.js';
import {
  lookupMethodConfig,
  type ParsedMethodConfig,
  type ParsedServiceConfig,
} from '../../policy/service-config/service-config.js';
import type { DEFAULT_CLIENT_SETTINGS, GrpcClientDefaults, MethodOptions } from './client-options.js';
import type { Services } from './contract.js';
import { METHOD_OPTION_ROWS } from './method-options.js';
import { optionsByPattern } from './method-patterns.js';

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
export interface ResolvedMethodPolicy extends Omit<ResolvedMethodOptions, 'idempotent' | 'retry' | 'hedge' | 'once'> {
  /** How calls get their keys; `undefined` if they have none. */
  readonly once?: Exclude<MethodOptions['once'], boolean> | true | undefined;
  /** Percentile that the hedging delay follows. */
  readonly hedgingDelay: HedgingPercentile | undefined;
  /** Where `timeoutMs` is set: 'methods["Get"]', 'the client or its defaults', or 'the service config'. */
  readonly timeoutFrom: string;
  readonly safeToRepeat: boolean;
  /**
   * Reason for `safeToRepeat` in the startup log line: 'proto idempotency_level', 'methods["Get"].idempotent', 'methods["Get"].retry', or 'serviceConfig
   * retryPolicy' (or hedgingPolicy). The empty string if the method is not safe to repeat.
   */
  readonly safeBecause: string;
  /** Present if and only if the method is safe to repeat, or has keys, and is not hedged. */
  readonly retry: RetryPolicy | undefined;
  /** Replaces retries; present only if the method is safe to repeat, or has keys. */
  readonly hedging?: HedgingPolicy | undefined;
  readonly maxRequestMessageBytes: number | undefined;
  readonly maxResponseMessageBytes: number | undefined;
}

type Methods = Readonly<Record<string, MethodOptions>>;

/** Validated input for the policies of all methods. */
export interface MethodPolicyInput {
  readonly services: Services;
  readonly methods: Methods | undefined;
  /** Options of the client, which are the defaults of its methods. */
  readonly client: GrpcClientDefaults;
  readonly serviceConfig: ParsedServiceConfig | undefined;
}

export function resolveMethodPolicies(input: MethodPolicyInput): ReadonlyMap<string, ResolvedMethodPolicy> {
  return new Map(descriptors(input.services).map((method) => [method.path, resolvePolicy(method, input)]));
}

/** Returns the policy of a method that has no configuration and is not safe to repeat. */
export function plainPolicy(method: MethodDescriptor): ResolvedMethodPolicy {
  return resolvePolicy(
    { ...method, declaredIdempotent: false },
    { services: new Map(), methods: undefined, client: {}, serviceConfig: undefined },
  );
}

export function resolvePolicy(method: MethodDescriptor, input: MethodPolicyInput): ResolvedMethodPolicy {
  const { options, from } = optionsByPattern(input.methods, method.service, method.method);
  const { idempotent, retry: ownRetry, hedge, once, ...resolved } = resolveOptions(options, input.client);
  const config = input.serviceConfig && lookupMethodConfig(input.serviceConfig, method.service, method.method);
  // The client's `timeoutMs` does not apply to response streams.
  const timeoutMs = method.responseStream && options.timeoutMs === undefined ? undefined : resolved.timeoutMs;
  const hasKeys = Boolean(once) && method.kind === 'unary';
  const policy = ownRetry === undefined ? policyName(method, config) : `methods[${JSON.stringify(from.retry)}].retry`;
  const safeBecause = reasonToRepeat(method, idempotent, from.idempotent, hasKeys ? undefined : policy);
  const safe = safeBecause !== '';
  const repeats = safe || hasKeys;
  const retry = ownRetry ?? config?.retry ?? DEFAULT_RETRY_POLICY;
  const configured = ownRetry === undefined ? config?.hedging : undefined;
  const hedging = canHedge(method) ? hedgingOf(configured, hedge, retry) : undefined;
  return Object.freeze({
    ...resolved,
    timeoutMs: minDefined(timeoutMs, config?.timeoutMs),
    timeoutFrom: timeoutSource(timeoutMs, from.timeoutMs, config?.timeoutMs),
    waitForReady: resolved.waitForReady ?? config?.waitForReady,
    hedgingDelay: typeof hedge === 'string' ? hedge : undefined,
    once: hasKeys ? once || undefined : undefined,
    safeToRepeat: safe,
    safeBecause,
    // A hedged call is not also retried (gRFC A6).
    retry: repeats && hedging === undefined ? limited(retry, input) : undefined,
    hedging: repeats && hedging !== undefined ? limited(hedging, input) : undefined,
    maxRequestMessageBytes: config?.maxRequestMessageBytes,
    maxResponseMessageBytes: config?.maxResponseMessageBytes,
  });
}

/**
 * Returns the hedging policy of a method: that of the service config, with the delay of `hedge`, or one with the number of attempts and the
 * status codes of the retry policy; `undefined` if the method is not hedged. Until a delay is measured, slow attempts are not hedged.
 */
function hedgingOf(
  configured: HedgingPolicy | undefined,
  hedge: HedgingPercentile | number | undefined,
  { maxAttempts, retryableStatusCodes }: RetryPolicy,
): HedgingPolicy | undefined {
  if (hedge === undefined) return configured;
  const policy = configured ?? { maxAttempts, hedgingDelayMs: Infinity, nonFatalStatusCodes: retryableStatusCodes };
  return typeof hedge === 'number' ? { ...policy, hedgingDelayMs: hedge } : policy;
}

/**
 * Completes validated options of a method with the client's options and the defaults. Options that are turned off (`Infinity`, `false`)
 * become `undefined`, so that they cost nothing per call.
 */
function resolveOptions(options: Partial<MethodOptions>, client: GrpcClientDefaults): ResolvedMethodOptions {
  const inherited: Partial<Record<keyof MethodOptions, unknown>> = client;
  const entries = METHOD_OPTION_ROWS.map(([key, row]) => {
    const value = options[key] ?? (row.inherited === true ? inherited[key] : undefined);
    return [key, value === undefined ? row.default : v.parse(row.schema, value)];
  });
  // The schemas of the table determine the types.
  return Object.fromEntries(entries) as ResolvedMethodOptions;
}

/** True if calls of a method can be hedged. Request streams cannot be hedged, because their messages go to one attempt at a time. */
export function canHedge(method: MethodDescriptor): boolean {
  return !method.requestStream;
}

/** Returns the name of the service config's policy that makes a method safe to repeat; `undefined` if no policy does. */
function policyName(method: MethodDescriptor, config: ParsedMethodConfig | undefined): string | undefined {
  if (config?.retry !== undefined) return 'serviceConfig retryPolicy';
  return config?.hedging !== undefined && canHedge(method) ? 'serviceConfig hedgingPolicy' : undefined;
}

/** Limits the attempts of a policy to 5, or to the value of grpc-js's own option. */
function limited<T extends { readonly maxAttempts: number }>(policy: T, { client }: MethodPolicyInput): T {
  const limit = client.channelOptions?.['grpc-node.retry_max_attempts_limit'] ?? MAX_ATTEMPTS;
  return Object.freeze({ ...policy, maxAttempts: Math.min(policy.maxAttempts, limit) });
}

function reasonToRepeat(
  method: MethodDescriptor,
  option: boolean | undefined,
  pattern: string | undefined,
  policy: string | undefined,
): string {
  if (option === false) return '';
  if (option === true) return `methods[${JSON.stringify(pattern)}].idempotent`;
  if (policy !== undefined) return policy;
  return method.declaredIdempotent ? 'proto idempotency_level' : '';
}

function timeoutSource(ofOptions = Infinity, pattern?: string, ofConfig = Infinity): string {
  if (ofConfig < ofOptions) return 'the service config';
  return pattern === undefined ? 'the client or its defaults' : `methods[${JSON.stringify(pattern)}]`;
}

function descriptors(services: Services): readonly MethodDescriptor[] {
  return [...services.values()].flatMap((methods) => [...methods.values()]);
}

function minDefined(a: number | undefined, b: number | undefined): number | undefined {
  if (a === undefined) return b;
  return b === undefined ? a : Math.min(a, b);
}
