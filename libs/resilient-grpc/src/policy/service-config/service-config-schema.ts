import * as v from 'valibot';
import { parseStatusCode, type StatusCode } from '../../status/status-code.js';
import { defined } from '../options/defined.js';
import { describeValue } from '../options/describe-value.js';
import { POSITIVE } from '../options/value-rules.js';
import {
  converted,
  flag,
  integer,
  jsonObject,
  list,
  milliseconds,
  object,
  openObject,
  positive,
  rulesOf,
} from '../options/option-schemas.js';
import type { HedgingPolicy } from '../hedging/hedging-policy.js';
import { DEFAULT_RETRY_POLICY, type RetryPolicy } from '../retry/retry-policy.js';
import { duration } from './duration-schema.js';
import type { ParsedMethodConfig } from './service-config.js';

const string = v.string('a string');

const methodName = v.pipe(
  jsonObject(
    { service: v.exactOptional(string), method: v.exactOptional(string) },
    'an object with service and method',
  ),
  rulesOf((value) => {
    const { service = '', method = '' } = value as { readonly service?: unknown; readonly method?: unknown };
    if (service !== '' || method === '' || typeof method !== 'string') return {};
    return { method: `expected a service for method ${describeValue(method)}, got none` };
  }),
);

/** A list of at least `minCount` status codes, each a number or a case-insensitive name. */
const statusCodes = (minCount: 0 | 1) =>
  v.pipe(
    list(
      converted('the name of a status code or a number from 0 to 16', parseStatusCode),
      'a list of status codes, such as ["UNAVAILABLE"]',
    ),
    v.minLength(minCount, 'at least one status code, such as ["UNAVAILABLE"]'),
    v.transform((codes): ReadonlySet<StatusCode> => new Set(codes)),
  );

/** gRFC A6, "Validation of retryPolicy": all fields are required. */
const retryPolicy = v.pipe(
  jsonObject(
    {
      maxAttempts: integer(2),
      initialBackoff: duration(),
      maxBackoff: duration(),
      backoffMultiplier: positive,
      retryableStatusCodes: statusCodes(1),
    },
    'an object',
  ),
  v.transform(({ initialBackoff, maxBackoff, ...policy }): RetryPolicy => ({
    ...policy,
    initialBackoffMs: initialBackoff,
    maxBackoffMs: maxBackoff,
  })),
);

/** The option `retry` of a method; completes it with the default policy. */
export const retryOptionsSchema = v.pipe(
  object(
    {
      maxAttempts: v.optional(integer(2)),
      initialBackoffMs: v.optional(milliseconds(POSITIVE)),
      maxBackoffMs: v.optional(milliseconds(POSITIVE)),
      retryableStatusCodes: v.optional(statusCodes(1)),
    },
    'an object such as { maxAttempts: 3, initialBackoffMs: 200 }',
  ),
  v.transform((options): RetryPolicy => ({ ...DEFAULT_RETRY_POLICY, ...defined(options) })),
);

/** gRFC A6, "Validation of hedgingPolicy": only `maxAttempts` is required. */
const hedgingPolicy = v.pipe(
  jsonObject(
    {
      maxAttempts: integer(2),
      hedgingDelay: v.optional(duration(true), '0s'),
      nonFatalStatusCodes: v.optional(statusCodes(0), []),
    },
    'an object',
  ),
  v.transform(({ hedgingDelay, ...policy }): HedgingPolicy => ({ ...policy, hedgingDelayMs: hedgingDelay })),
);

/** One entry of `methodConfig`. */
const methodConfig = v.pipe(
  jsonObject(
    {
      name: list(methodName, 'a list of names, such as [{ "service": "orders.v1.Orders" }]'),
      timeout: v.exactOptional(duration()),
      waitForReady: v.exactOptional(flag),
      maxRequestMessageBytes: v.exactOptional(integer(0)),
      maxResponseMessageBytes: v.exactOptional(integer(0)),
      retryPolicy: v.exactOptional(retryPolicy),
      hedgingPolicy: v.exactOptional(hedgingPolicy),
    },
    'an object',
  ),
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
  openObject({}, 'an object such as { "round_robin": {} }'),
  v.record(v.string(), openObject({}, 'an object')),
  v.check((policy) => Object.keys(policy).length === 1, 'exactly one key, the name of the policy'),
);

const MAX_TOKENS = 1_000;

/** `healthCheckConfig` (gRFC A17). Health is not checked if no service name is set. */
const healthCheckConfigSchema = jsonObject(
  { serviceName: v.exactOptional(v.string("the full name of a service, or '' for the server as a whole")) },
  "an object such as { serviceName: 'orders.v1.Orders' }",
);

/** The client's limit for `maxConnectionsPerSubchannel` (gRFC A105). */
const MAX_CONNECTIONS_PER_SUBCHANNEL = 10;

/** `connectionScaling` (gRFC A105). */
const connectionScaling = jsonObject(
  {
    maxConnectionsPerSubchannel: v.exactOptional(
      v.pipe(
        integer(1),
        v.transform((count) => Math.min(count, MAX_CONNECTIONS_PER_SUBCHANNEL)),
      ),
    ),
  },
  'an object such as { "maxConnectionsPerSubchannel": 4 }',
);

/** Service config in proto3 JSON, by the rules of gRFC A2 and A6. */
export const serviceConfigSchema = jsonObject(
  {
    loadBalancingConfig: v.exactOptional(list(balancingPolicy, 'a list of policies, such as [{ "round_robin": {} }]')),
    loadBalancingPolicy: v.exactOptional(v.string('the name of a policy such as "round_robin"')),
    methodConfig: v.optional(list(methodConfig, 'a list of method configs'), []),
    retryThrottling: v.exactOptional(
      jsonObject(
        {
          maxTokens: v.pipe(positive, v.maxValue(MAX_TOKENS, `at most ${String(MAX_TOKENS)}`)),
          tokenRatio: v.pipe(
            positive,
            v.check((ratio) => !(ratio > 0 && ratio < 0.001), '0.001 or more, because only three decimals are used'),
          ),
        },
        'an object',
      ),
    ),
    healthCheckConfig: v.exactOptional(healthCheckConfigSchema),
    connectionScaling: v.exactOptional(connectionScaling),
  },
  'a service config as an object',
);
