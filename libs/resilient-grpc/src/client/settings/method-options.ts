import * as v from 'valibot';
import { circuitBreakerSchema } from '../../policy/circuit-breaker/circuit-breaker-options.js';
import { retryOptionsSchema } from '../../policy/service-config/service-config-schema.js';
import {
  flag,
  integer,
  maxConcurrentCalls,
  onDrain,
  object,
  orFalse,
  positiveMilliseconds,
  timeout,
  type Schema,
} from '../../policy/options/option-schemas.js';
import type { GrpcCallOptions } from '../resilient-types.js';
import { DEFAULT_CLIENT_SETTINGS, type MethodOptions } from './client-options.js';

interface MethodOption {
  readonly schema: Schema<unknown>;
  /** Value if the option is absent. */
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
  prefetch: {
    schema: integer(1),
    default: DEFAULT_CLIENT_SETTINGS.prefetch,
  },
  onDrain: { schema: onDrain },
  idempotent: { schema: flag },
  waitForReady: { schema: flag },
  circuitBreaker: { schema: orFalse(circuitBreakerSchema) },
  // Not inherited, because the client's option of the same name is a separate limit.
  maxConcurrentCalls: { schema: maxConcurrentCalls },
  retry: { schema: retryOptionsSchema },
  hedge: { schema: orFalse(v.union([v.picklist(['p90', 'p95', 'p99']), positiveMilliseconds])) },
} as const satisfies Readonly<Record<keyof MethodOptions, MethodOption>>;

/**
 * True if the options of a call, except `deadline` and `metadata`, are valid; `callOptionsSchema` finds the problems of invalid options.
 * The checks are written out, because this function runs for each call with options, and a loop over the table would double the cost.
 * Durations are read even if they are not enumerable; an invalid duration would end the process.
 */
export function areCallOptionsValid(call: GrpcCallOptions): boolean {
  return isDuration(call.timeoutMs) && isDuration(call.streamIdleTimeoutMs) && areOtherOptionsValid(call);
}

function isDuration(value: unknown): boolean {
  return value === undefined || (typeof value === 'number' && value > 0);
}

/**
 * True if all keys are known and their values are valid. Does not check `deadline`, `metadata`, or the values that `areCallOptionsValid()`
 * checks. An unknown key whose value is undefined is ignored.
 */
function areOtherOptionsValid(call: GrpcCallOptions): boolean {
  if (typeof call !== 'object') return false;
  let key: string | undefined;
  for (key in call) {
    const value: unknown = call[key as keyof GrpcCallOptions];
    if (value === undefined) continue;
    switch (key) {
      case 'timeoutMs':
      case 'streamIdleTimeoutMs':
      case 'deadline':
      case 'metadata':
        break;
      case 'idempotent':
      case 'waitForReady':
        if (typeof value !== 'boolean') return false;
        break;
      case 'retry':
      case 'propagate':
        if (value !== false) return false;
        break;
      case 'onHeaders':
      case 'onEnd':
        if (typeof value !== 'function') return false;
        break;
      case 'signal':
        if (!isSignal(value)) return false;
        break;
      case 'host':
        if (value !== null && typeof value !== 'string') return false;
        break;
      case 'propagate_flags':
        if (value !== null && typeof value !== 'number') return false;
        break;
      case 'interceptors':
      case 'interceptor_providers':
        if (value !== null && !Array.isArray(value)) return false;
        break;
      case 'credentials':
        if (typeof value !== 'object') return false;
        break;
      case 'parent':
        if (value !== null && !isServerCall(value)) return false;
        break;
      default:
        return false;
    }
  }
  // Rejects a Map, because the loop does not visit its entries. The check is needed only if the loop found no key.
  return key !== undefined || isNotMap(call);
}

function isNotMap(value: unknown): boolean {
  return !(value instanceof Map);
}

/** True if `value` is an AbortSignal, including one from a polyfill or another realm. */
function isSignal(value: unknown): boolean {
  return typeof (value as Partial<AbortSignal> | null)?.addEventListener === 'function';
}

function isServerCall(value: unknown): boolean {
  return typeof (value as { readonly getDeadline?: unknown } | null)?.getDeadline === 'function';
}

const onlyFalse = v.optional(v.literal(false));
const listener = v.optional(v.function());
/**
 * Schema of the options of a call. `deadline` and `metadata` are validated separately. grpc-js's options, except `deadline`, may be null,
 * as in grpc-js itself.
 */
export const callOptionsSchema = v.pipe(
  v.custom<unknown>(isNotMap, 'an object'),
  v.transform(withoutUndefined),
  object({
    timeoutMs: v.optional(METHOD_OPTIONS.timeoutMs.schema),
    streamIdleTimeoutMs: v.optional(METHOD_OPTIONS.streamIdleTimeoutMs.schema),
    idempotent: v.optional(flag),
    waitForReady: v.optional(flag),
    metadata: v.optional(v.unknown()),
    signal: v.optional(v.custom(isSignal, 'an AbortSignal')),
    retry: onlyFalse,
    propagate: onlyFalse,
    onHeaders: listener,
    onEnd: listener,
    deadline: v.optional(v.unknown()),
    parent: v.nullish(v.custom(isServerCall, "the inbound call that grpc-js's server passes to its handler")),
    credentials: v.optional(v.custom((value) => typeof value === 'object', "grpc-js's CallCredentials")),
    host: v.nullish(v.string()),
    propagate_flags: v.nullish(v.number()),
    interceptors: v.nullish(v.array(v.unknown())),
    interceptor_providers: v.nullish(v.array(v.unknown())),
  } satisfies Readonly<Record<keyof GrpcCallOptions, unknown>>),
);

/** Returns `options` without `undefined` values. Keeps inherited values, because calls read them, too. */
function withoutUndefined(options: unknown): unknown {
  if (typeof options !== 'object' || options === null) return options;
  const defined: Record<string, unknown> = {};
  for (const key in options) {
    const value: unknown = options[key as keyof typeof options];
    if (value !== undefined) defined[key] = value;
  }
  // An inherited option may be a class getter, which is not enumerable.
  for (const key of ['timeoutMs', 'streamIdleTimeoutMs'] as const) {
    const value = (options as GrpcCallOptions)[key];
    if (value !== undefined) defined[key] = value;
  }
  return defined;
}

/** The rows of the table, typed as `MethodOption`. */
export const METHOD_OPTION_ROWS: readonly (readonly [key: keyof MethodOptions, row: MethodOption])[] =
  // The cast is needed, because Object.entries() loses the type of the keys.
  Object.entries(METHOD_OPTIONS) as [keyof MethodOptions, MethodOption][];
