import { circuitBreakerSchema } from '../../policy/circuit-breaker/circuit-breaker-schema.js';
import { flag, integer, millisecondsOrNone, onDrain, type Schema } from '../../policy/options/option-schemas.js';
import { POSITIVE } from '../../policy/options/value-rules.js';
import { DEFAULT_CLIENT_SETTINGS, type MethodOptions } from './client-options.js';

interface MethodOption {
  readonly schema: Schema<unknown>;
  /** Value without the option. */
  readonly default?: unknown;
  /** True if the client's option of the same name is the default. */
  readonly inherited?: true;
  /** Example of the option in `methods`, for the remedy if it is written beside `url`. Absent if clients have the same name. */
  readonly place?: string;
  /** Present if a call may override the option. True for a valid value; it runs in each call that does. */
  readonly isCallValue?: (value: unknown) => boolean;
}

/**
 * All options of a method. Validation, resolution, and the remedies for misplaced keys read this table. The doc comments and types are in
 * `MethodOptions`, and those of calls in `GrpcCallOptions`.
 */
const METHOD_OPTIONS = {
  timeoutMs: { schema: millisecondsOrNone(POSITIVE), inherited: true, isCallValue: isPositive },
  attemptTimeoutMs: {
    schema: millisecondsOrNone(POSITIVE),
    place: "methods: { '*': { attemptTimeoutMs: 300 } }",
    isCallValue: isPositive,
  },
  streamIdleTimeoutMs: { schema: millisecondsOrNone(POSITIVE), inherited: true, isCallValue: isPositive },
  prefetch: {
    schema: integer(1),
    default: DEFAULT_CLIENT_SETTINGS.prefetch,
    place: 'methods: { Watch: { prefetch: 16 } }',
    isCallValue: (value) => Number.isInteger(value) && isPositive(value),
  },
  onDrain: {
    schema: onDrain,
    place: "methods: { Watch: { onDrain: 'complete' } }",
    isCallValue: (value) => value === 'finish' || value === 'complete' || value === 'fail',
  },
  maxQueuedRequestBytes: {
    schema: integer(1),
    default: DEFAULT_CLIENT_SETTINGS.maxQueuedRequestBytes,
    place: 'methods: { Upload: { maxQueuedRequestBytes: 1048576 } }',
  },
  // Any value of a call is accepted: only `true` and `false` have an effect.
  idempotent: { schema: flag, place: 'methods: { Get: { idempotent: true } }', isCallValue: () => true },
  waitForReady: { schema: flag, place: "methods: { '*': { waitForReady: true } }", isCallValue: () => true },
  circuitBreaker: { schema: circuitBreakerSchema, place: "methods: { '*': { circuitBreaker: {} } }" },
  // The client's option of the same name is another limit.
  maxConcurrentCalls: { schema: integer(1) },
} as const satisfies Readonly<Record<keyof MethodOptions, MethodOption>>;

/** Options that are stages of an attempt. A call that overrides one has its own stages. */
export const STAGE_OPTIONS = [
  'attemptTimeoutMs',
  'streamIdleTimeoutMs',
] as const satisfies readonly (keyof MethodOptions)[];

/** The rows of the table, in the type that all of them satisfy. */
export const METHOD_OPTION_ROWS: readonly (readonly [key: keyof MethodOptions, row: MethodOption])[] =
  // Object.entries() loses the type of the keys.
  Object.entries(METHOD_OPTIONS) as [keyof MethodOptions, MethodOption][];

function isPositive(value: unknown): boolean {
  return typeof value === 'number' && value > 0;
}
