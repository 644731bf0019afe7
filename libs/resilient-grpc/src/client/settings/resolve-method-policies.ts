import type { MethodDescriptor } from '../../call/method.js';
import type { ConfigurationProblem } from '../../errors/grpc-configuration-error.js';
import { parseCircuitBreaker } from '../../policy/circuit-breaker/parse-circuit-breaker.js';
import { DEFAULT_RETRY_POLICY } from '../../policy/retry/retry-policy.js';
import { lookupMethodConfig } from '../../policy/service-config/method-config-lookup.js';
import { Problems } from '../../policy/service-config/problem.js';
import type { ParsedMethodConfig, ParsedServiceConfig } from '../../policy/service-config/service-config.js';
import { DEFAULT_CLIENT_SETTINGS, type MethodOptions } from './client-options.js';
import type { Services } from './contract.js';
import { pathOf } from './describe-value.js';
import { optionsByPattern } from './method-patterns.js';
import type { ResolvedMethodPolicy } from './resolved-settings.js';

type Methods = Readonly<Record<string, MethodOptions>>;

/** Returns the problems of the circuit breakers in `methods`. */
export function circuitBreakerProblems(methods: unknown, path: string): ConfigurationProblem[] {
  const problems = new Problems();
  for (const [pattern, options] of Object.entries(Object(methods) as Record<string, unknown>)) {
    if (typeof options !== 'object' || options === null) continue;
    const at = pathOf(pathOf(pathOf(path, 'methods'), pattern), 'circuitBreaker');
    parseCircuitBreaker(Reflect.get(options, 'circuitBreaker'), at, problems);
  }
  return [...problems.list];
}

/** Validated input for the policies of all methods. */
export interface MethodPolicyInput {
  readonly services: Services;
  readonly methods: Methods | undefined;
  readonly timeoutMs: number | undefined;
  readonly streamIdleTimeoutMs?: number | undefined;
  readonly maxAttemptsLimit: number;
  readonly serviceConfig: ParsedServiceConfig | undefined;
}

/** Returns the policy of each method, by path. */
export function resolveMethodPolicies(input: MethodPolicyInput): ReadonlyMap<string, ResolvedMethodPolicy> {
  return new Map(descriptors(input.services).map((method) => [method.path, resolvePolicy(method, input)]));
}

/** Returns the policy of a method without configuration, whose calls are never repeated. */
export function plainPolicy(method: MethodDescriptor): ResolvedMethodPolicy {
  return resolvePolicy(
    { ...method, declaredIdempotent: false },
    { services: new Map(), methods: undefined, timeoutMs: undefined, maxAttemptsLimit: 1, serviceConfig: undefined },
  );
}

function resolvePolicy(method: MethodDescriptor, input: MethodPolicyInput): ResolvedMethodPolicy {
  const { options, from } = optionsByPattern(input.methods, method.service, method.method);
  const config = input.serviceConfig && lookupMethodConfig(input.serviceConfig, method.service, method.method);
  // A response stream has a deadline only if one is set for its method.
  const ownTimeout = options.timeoutMs ?? (method.responseStream ? undefined : input.timeoutMs);
  const safeBecause = reasonToRepeat(method, options.idempotent, from.idempotent, policyNamed(method, config));
  const safe = safeBecause !== '';
  const retry = config?.retry ?? DEFAULT_RETRY_POLICY;
  const hedging = canHedge(method) ? config?.hedging : undefined;
  return Object.freeze({
    timeoutMs: lesser(ownTimeout, config?.timeoutMs),
    waitForReady: options.waitForReady ?? config?.waitForReady,
    safeToRepeat: safe,
    safeBecause,
    // A hedged call is not retried in addition (gRFC A6).
    retry: safe && hedging === undefined ? limited(retry, input) : undefined,
    hedging: safe && hedging !== undefined ? limited(hedging, input) : undefined,
    attemptTimeoutMs: options.attemptTimeoutMs,
    streamIdleTimeoutMs: options.streamIdleTimeoutMs ?? input.streamIdleTimeoutMs,
    prefetch: options.prefetch ?? DEFAULT_CLIENT_SETTINGS.prefetch,
    onDrain: options.onDrain,
    maxQueuedRequestBytes: options.maxQueuedRequestBytes ?? DEFAULT_CLIENT_SETTINGS.maxQueuedRequestBytes,
    circuitBreaker:
      options.circuitBreaker === undefined
        ? undefined
        : parseCircuitBreaker(options.circuitBreaker, 'circuitBreaker', new Problems()),
    maxConcurrentCalls: options.maxConcurrentCalls,
    maxRequestMessageBytes: config?.maxRequestMessageBytes,
    maxResponseMessageBytes: config?.maxResponseMessageBytes,
  });
}

/** True if calls of a method can be hedged. A request stream is sent only once. */
export function canHedge(method: MethodDescriptor): boolean {
  return !method.requestStream;
}

/** Returns the name of the policy in the service config that applies to a method. */
function policyNamed(method: MethodDescriptor, config: ParsedMethodConfig | undefined): string | undefined {
  if (config?.retry !== undefined) return 'retryPolicy';
  return config?.hedging !== undefined && canHedge(method) ? 'hedgingPolicy' : undefined;
}

function limited<T extends { readonly maxAttempts: number }>(policy: T, { maxAttemptsLimit }: MethodPolicyInput): T {
  return Object.freeze({ ...policy, maxAttempts: Math.min(policy.maxAttempts, maxAttemptsLimit) });
}

function reasonToRepeat(
  method: MethodDescriptor,
  option: boolean | undefined,
  pattern: string | undefined,
  policy: string | undefined,
): string {
  if (option === false) return '';
  if (option === true) return `methods[${JSON.stringify(pattern)}].idempotent`;
  if (policy !== undefined) return `serviceConfig ${policy}`;
  return method.declaredIdempotent ? 'proto idempotency_level' : '';
}

function descriptors(services: Services): readonly MethodDescriptor[] {
  return [...services.values()].flatMap((methods) => [...methods.values()]);
}

function lesser(a: number | undefined, b: number | undefined): number | undefined {
  if (a === undefined) return b;
  return b === undefined ? a : Math.min(a, b);
}
