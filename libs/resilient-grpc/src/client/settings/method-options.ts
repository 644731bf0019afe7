import * as v from 'valibot';
import { circuitBreakerSchema } from '../../policy/circuit-breaker/circuit-breaker.js';
import { retryOptionsSchema } from '../../policy/service-config/service-config-schema.js';
import type { ConfigurationProblem } from '../../errors/grpc-configuration-error.js';
import { describeSecret, describeValue, pathOf, problemMessage } from '../../policy/options/describe-value.js';
import {
  flag,
  integer,
  maxConcurrentCalls,
  onDrain,
  orFalse,
  positiveMilliseconds,
  timeout,
  unknownOption,
  UNKNOWN_OPTION,
  type Schema,
} from '../../policy/options/option-schemas.js';
import type { GrpcCallOptions } from '../resilient-types.js';
import { DEFAULT_CLIENT_SETTINGS, type MethodOptions } from './client-options.js';

interface MethodOption {
  readonly schema: Schema<unknown>;
  readonly default?: unknown;
  /** True if the client's option of the same name is the default. */
  readonly inherited?: true;
}

/**
 * All options of a method. Validation and resolution use this table. The doc comments and types are in
 * `MethodOptions`, and those of call options in `GrpcCallOptions`.
 */
const METHOD_OPTIONS = {
  timeoutMs: { schema: timeout, inherited: true },
  attemptTimeoutMs: { schema: timeout },
  streamIdleTimeoutMs: { schema: timeout, inherited: true },
  prefetch: { schema: integer(1), default: DEFAULT_CLIENT_SETTINGS.prefetch },
  onDrain: { schema: onDrain },
  idempotent: { schema: flag },
  waitForReady: { schema: flag },
  circuitBreaker: { schema: orFalse(circuitBreakerSchema) },
  // Not inherited, because the client's option of the same name is a separate limit.
  maxConcurrentCalls: { schema: maxConcurrentCalls },
  retry: { schema: retryOptionsSchema },
  hedge: { schema: orFalse(v.union([v.picklist(['p90', 'p95', 'p99']), positiveMilliseconds])) },
} as const satisfies Readonly<Record<keyof MethodOptions, MethodOption>>;

/** Options of a call, for the suggestion after a misspelled one. */
const CALL_OPTIONS: readonly (keyof GrpcCallOptions)[] = [
  ...(['timeoutMs', 'streamIdleTimeoutMs', 'idempotent', 'waitForReady', 'metadata', 'signal', 'retry'] as const),
  ...(['propagate', 'onHeaders', 'onEnd', 'deadline', 'parent', 'credentials', 'host', 'propagate_flags'] as const),
  ...(['interceptors', 'interceptor_providers'] as const),
];

/**
 * True if the options of a call, except `deadline` and `metadata`, are valid; `callOptionProblems()` describes invalid options. Durations
 * are read even if they are not enumerable; an invalid duration would end the process.
 */
export function areCallOptionsValid(call: GrpcCallOptions): boolean {
  return isDuration(call.timeoutMs) && isDuration(call.streamIdleTimeoutMs) && areListedOptionsValid(call);
}

function areListedOptionsValid(call: GrpcCallOptions): boolean {
  if (typeof call !== 'object') return false;
  let key: string | undefined;
  for (key in call) if (expectedOption(key, call[key as keyof GrpcCallOptions]) !== undefined) return false;
  // Rejects a Map, because the loop does not visit its entries. The check is needed only if the loop found no key.
  return key !== undefined || !(call instanceof Map);
}

/** Returns the problems of options of a call, except those of `deadline` and `metadata`. */
export function callOptionProblems(call: GrpcCallOptions, path: string): ConfigurationProblem[] {
  if (typeof call !== 'object' || call instanceof Map) return [{ path, message: problemMessage('an object', call) }];
  const keys = new Set<string>(['timeoutMs', 'streamIdleTimeoutMs']);
  for (const key in call) keys.add(key);
  return [...keys].flatMap((key) => {
    const value: unknown = call[key as keyof GrpcCallOptions];
    const expected = expectedOption(key, value);
    if (expected === undefined) return [];
    const describe = key === 'credentials' ? describeSecret : describeValue;
    const isUnknown = expected === UNKNOWN_OPTION;
    const message = isUnknown ? unknownOption(key, CALL_OPTIONS) : problemMessage(expected, value, undefined, describe);
    return [{ path: pathOf(path, key), message }];
  });
}

/**
 * Returns the value that an option of a call expects, or `UNKNOWN_OPTION`; `undefined` if `value` is valid or undefined. Does not check
 * `deadline` and `metadata`. grpc-js's options may be null, as in grpc-js itself. The checks are written out, because they run for each
 * call with options, and a loop over a table would double the cost.
 */
function expectedOption(key: string, value: unknown): string | undefined {
  if (value === undefined) return undefined;
  switch (key) {
    case 'deadline':
    case 'metadata':
      return undefined;
    case 'timeoutMs':
    case 'streamIdleTimeoutMs':
      if (isDuration(value)) return undefined;
      return typeof value === 'number' && value <= 0 ? '>0' : 'number';
    case 'idempotent':
    case 'waitForReady':
      return typeof value === 'boolean' ? undefined : 'boolean';
    case 'retry':
    case 'propagate':
      return value === false ? undefined : 'false';
    case 'onHeaders':
    case 'onEnd':
      return typeof value === 'function' ? undefined : 'Function';
    case 'signal':
      return isSignal(value) ? undefined : 'an AbortSignal';
    case 'host':
      return value === null || typeof value === 'string' ? undefined : 'string';
    case 'propagate_flags':
      return value === null || typeof value === 'number' ? undefined : 'number';
    case 'interceptors':
    case 'interceptor_providers':
      return value === null || Array.isArray(value) ? undefined : 'Array';
    case 'credentials':
      return typeof value === 'object' ? undefined : "grpc-js's CallCredentials";
    case 'parent':
      if (value === null || isServerCall(value)) return undefined;
      return "the inbound call that grpc-js's server passes to its handler";
    default:
      return UNKNOWN_OPTION;
  }
}

function isDuration(value: unknown): boolean {
  return value === undefined || (typeof value === 'number' && value > 0);
}

/** True if `value` is an AbortSignal, including one from a polyfill or another realm. */
function isSignal(value: unknown): boolean {
  return typeof (value as Partial<AbortSignal> | null)?.addEventListener === 'function';
}

function isServerCall(value: unknown): boolean {
  return typeof (value as { readonly getDeadline?: unknown } | null)?.getDeadline === 'function';
}

export const METHOD_OPTION_ROWS: readonly (readonly [key: keyof MethodOptions, row: MethodOption])[] =
  // The cast is needed, because Object.entries() loses the type of the keys.
  Object.entries(METHOD_OPTIONS) as [keyof MethodOptions, MethodOption][];
