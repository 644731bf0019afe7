import * as v from 'valibot';
import { defined, describeValue } from '../options/describe-value.js';
import {
  duration,
  flag,
  integer,
  jsonObject,
  object,
  openObject,
  positive,
  positiveMilliseconds,
  rulesOf,
  statusCodes,
} from '../options/option-schemas.js';
import { type HedgingPolicy, DEFAULT_RETRY_POLICY, type RetryPolicy } from '../retry/retry-policy.js';
import type { ParsedMethodConfig } from './service-config.js';

const string = v.string();

const methodName = v.pipe(
  jsonObject({ service: v.exactOptional(string), method: v.exactOptional(string) }),
  rulesOf((value) => {
    const { service = '', method = '' } = value as { readonly service?: unknown; readonly method?: unknown };
    if (service !== '' || method === '' || typeof method !== 'string') return {};
    return { method: `expected a service for method ${describeValue(method)}, got none` };
  }),
);

/** gRFC A6, "Validation of retryPolicy": all fields are required. */
const retryPolicy = v.pipe(
  jsonObject({
    maxAttempts: integer(2),
    initialBackoff: duration(),
    maxBackoff: duration(),
    backoffMultiplier: positive,
    retryableStatusCodes: statusCodes(1),
  }),
  v.transform(({ initialBackoff, maxBackoff, ...policy }): RetryPolicy => ({
    ...policy,
    initialBackoffMs: initialBackoff,
    maxBackoffMs: maxBackoff,
  })),
);

/** The option `retry` of a method; completes it with the default policy. */
export const retryOptionsSchema = v.pipe(
  object({
    maxAttempts: v.optional(integer(2)),
    initialBackoffMs: v.optional(positiveMilliseconds),
    maxBackoffMs: v.optional(positiveMilliseconds),
    retryableStatusCodes: v.optional(statusCodes(1)),
  }),
  v.transform((options): RetryPolicy => ({ ...DEFAULT_RETRY_POLICY, ...defined(options) })),
);

/** gRFC A6, "Validation of hedgingPolicy": only `maxAttempts` is required. */
const hedgingPolicy = v.pipe(
  jsonObject({
    maxAttempts: integer(2),
    hedgingDelay: v.optional(duration(true), '0s'),
    nonFatalStatusCodes: v.optional(statusCodes(0), []),
  }),
  v.transform(({ hedgingDelay, ...policy }): HedgingPolicy => ({ ...policy, hedgingDelayMs: hedgingDelay })),
);

const methodConfig = v.pipe(
  jsonObject({
    name: v.array(methodName),
    timeout: v.exactOptional(duration()),
    waitForReady: v.exactOptional(flag),
    maxRequestMessageBytes: v.exactOptional(integer(0)),
    maxResponseMessageBytes: v.exactOptional(integer(0)),
    retryPolicy: v.exactOptional(retryPolicy),
    hedgingPolicy: v.exactOptional(hedgingPolicy),
  }),
  rulesOf((value) =>
    'retryPolicy' in value && 'hedgingPolicy' in value
      ? { hedgingPolicy: 'expected retryPolicy or hedgingPolicy, got both' }
      : {},
  ),
  v.transform(({ name, timeout, retryPolicy: retry, hedgingPolicy: hedging, ...rest }): ParsedMethodConfig => ({
    names: name.map(({ service = '', method = '' }) => ({ service, method })),
    ...rest,
    ...(timeout !== undefined && { timeoutMs: timeout }),
    ...(retry && { retry }),
    ...(hedging && { hedging }),
  })),
);

const balancingPolicy = v.pipe(
  openObject({}),
  v.record(v.string(), openObject({})),
  v.check((policy) => Object.keys(policy).length === 1, 'exactly one key, the name of the policy'),
);

const MAX_TOKENS = 1_000;

/** `healthCheckConfig` (gRFC A17). Health is not checked if no service name is set. */
const healthCheckConfigSchema = jsonObject({ serviceName: v.exactOptional(string) });

/** The client's limit for `maxConnectionsPerSubchannel` (gRFC A105). */
const MAX_CONNECTIONS_PER_SUBCHANNEL = 10;

const connectionScaling = jsonObject({
  maxConnectionsPerSubchannel: v.exactOptional(
    v.pipe(
      integer(1),
      v.transform((count) => Math.min(count, MAX_CONNECTIONS_PER_SUBCHANNEL)),
    ),
  ),
});

/** Service config in proto3 JSON, by the rules of gRFC A2 and A6. */
export const serviceConfigSchema = jsonObject({
  loadBalancingConfig: v.exactOptional(v.array(balancingPolicy)),
  loadBalancingPolicy: v.exactOptional(string),
  methodConfig: v.optional(v.array(methodConfig), []),
  retryThrottling: v.exactOptional(
    jsonObject({
      maxTokens: v.pipe(positive, v.maxValue(MAX_TOKENS)),
      tokenRatio: v.pipe(
        positive,
        positiveMilliseconds,
        v.check((ratio) => !(ratio > 0 && ratio < 0.001), '0.001 or more, because only three decimals are used'),
      ),
    }),
  ),
  healthCheckConfig: v.exactOptional(healthCheckConfigSchema),
  connectionScaling: v.exactOptional(connectionScaling),
});
