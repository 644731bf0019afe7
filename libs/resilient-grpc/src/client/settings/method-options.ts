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
import { isOnceKey } from '../../policy/once/once-fields.js';
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
  once: { schema: v.union([flag, v.function()]) },
  retry: { schema: retryOptionsSchema },
  hedge: { schema: orFalse(v.union([v.picklist(['p90', 'p95', 'p99']), positiveMilliseconds])) },
} as const satisfies Readonly<Record<keyof MethodOptions, MethodOption>>;

type Check = readonly [expected: string, isValid: (value: unknown) => boolean];

const isDuration = (value: unknown): boolean => value === undefined || (typeof value === 'number' && value > 0);
const DURATION: Check = ['>0', isDuration];
const BOOLEAN: Check = ['boolean', (value) => typeof value === 'boolean'];
const FALSE: Check = ['false', (value) => value === false];
const FUNCTION: Check = ['Function', (value) => typeof value === 'function'];
const ARRAY: Check = ['Array', (value) => value === null || Array.isArray(value)];
/** Options that are checked where they are read. */
const UNCHECKED: Check = ['', () => true];

/** True if `value` has the method `name`, as an AbortSignal from a polyfill or another realm has. */
const hasMethod = (value: unknown, name: string): boolean =>
  typeof (value as Readonly<Record<string, unknown>> | null)?.[name] === 'function';

/** Checks of the options of a call. grpc-js's options may be null, as in grpc-js itself. */
const CALL_OPTIONS: Readonly<Record<keyof GrpcCallOptions, Check>> = {
  timeoutMs: DURATION,
  streamIdleTimeoutMs: DURATION,
  idempotent: BOOLEAN,
  waitForReady: BOOLEAN,
  metadata: UNCHECKED,
  signal: ['an AbortSignal', (value) => hasMethod(value, 'addEventListener')],
  onceKey: ['a key of 1 to 255 characters from ! to ~', isOnceKey],
  retry: FALSE,
  propagate: FALSE,
  onHeaders: FUNCTION,
  onEnd: FUNCTION,
  deadline: UNCHECKED,
  parent: [
    "the inbound call that grpc-js's server passes to its handler",
    (value) => value === null || hasMethod(value, 'getDeadline'),
  ],
  credentials: ["grpc-js's CallCredentials", (value) => typeof value === 'object'],
  host: ['string', (value) => value === null || typeof value === 'string'],
  propagate_flags: ['number', (value) => value === null || typeof value === 'number'],
  interceptors: ARRAY,
  interceptor_providers: ARRAY,
};

/**
 * True if the options of a call, except `deadline` and `metadata`, are valid; `callOptionProblems()` describes invalid options. Durations
 * are read even if they are not enumerable; an invalid duration would end the process.
 */
export function areCallOptionsValid(call: GrpcCallOptions): boolean {
  if (!isDuration(call.timeoutMs) || !isDuration(call.streamIdleTimeoutMs) || typeof call !== 'object') return false;
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
    const message = isUnknown
      ? unknownOption(key, Object.keys(CALL_OPTIONS))
      : problemMessage(expected, value, undefined, describe);
    return [{ path: pathOf(path, key), message }];
  });
}

/** Returns what an option of a call expects, or `UNKNOWN_OPTION`; `undefined` if `value` is valid or undefined. */
function expectedOption(key: string, value: unknown): string | undefined {
  if (value === undefined) return undefined;
  if (!Object.hasOwn(CALL_OPTIONS, key)) return UNKNOWN_OPTION;
  const [expected, isValid] = CALL_OPTIONS[key as keyof GrpcCallOptions];
  return isValid(value) ? undefined : expected;
}

export const METHOD_OPTION_ROWS: readonly (readonly [key: keyof MethodOptions, row: MethodOption])[] =
  // The cast is needed, because Object.entries() loses the type of the keys.
  Object.entries(METHOD_OPTIONS) as [keyof MethodOptions, MethodOption][];
