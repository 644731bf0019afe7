import * as v from 'valibot';
import { circuitBreakerSchema } from '../../policy/circuit-breaker/circuit-breaker-schema.js';
import { concurrencyLimit } from '../../policy/concurrency/concurrency-schema.js';
import { hedgingDelay } from '../../policy/hedging/hedging-delay-schema.js';
import {
  flag,
  integer,
  millisecondsOrNone,
  onDrain,
  openObject,
  type Schema,
} from '../../policy/options/option-schemas.js';
import { POSITIVE } from '../../policy/options/value-rules.js';
import type { GrpcCallOptions } from '../resilient-types.js';
import { DEFAULT_CLIENT_SETTINGS, type MethodOptions } from './client-options.js';

interface MethodOption {
  readonly schema: Schema<unknown>;
  /** Value if the option is absent. */
  readonly default?: unknown;
  /** True if the client's option of the same name is the default. */
  readonly inherited?: true;
  /** Example of the option in `methods`, shown if it is written next to `url`. Absent if clients have an option of the same name. */
  readonly example?: string;
}

/**
 * All options of a method. Validation, resolution, and the remedies for misplaced keys read this table. The doc comments and types are in
 * `MethodOptions`, and those of calls in `GrpcCallOptions`.
 */
const METHOD_OPTIONS = {
  timeoutMs: { schema: millisecondsOrNone(POSITIVE), inherited: true },
  attemptTimeoutMs: { schema: millisecondsOrNone(POSITIVE), example: "methods: { '*': { attemptTimeoutMs: 300 } }" },
  streamIdleTimeoutMs: { schema: millisecondsOrNone(POSITIVE), inherited: true },
  prefetch: {
    schema: integer(1),
    default: DEFAULT_CLIENT_SETTINGS.prefetch,
    example: 'methods: { Watch: { prefetch: 16 } }',
  },
  onDrain: { schema: onDrain, example: "methods: { Watch: { onDrain: 'complete' } }" },
  maxQueuedRequestBytes: {
    schema: integer(1),
    default: DEFAULT_CLIENT_SETTINGS.maxQueuedRequestBytes,
    example: 'methods: { Upload: { maxQueuedRequestBytes: 1048576 } }',
  },
  idempotent: { schema: flag, example: 'methods: { Get: { idempotent: true } }' },
  waitForReady: { schema: flag, example: "methods: { '*': { waitForReady: true } }" },
  circuitBreaker: { schema: circuitBreakerSchema, example: "methods: { '*': { circuitBreaker: {} } }" },
  // The client's option of the same name is a separate limit.
  maxConcurrentCalls: { schema: concurrencyLimit },
  hedgingDelay: { schema: hedgingDelay, example: "methods: { Get: { idempotent: true, hedgingDelay: 'p95' } }" },
} as const satisfies Readonly<Record<keyof MethodOptions, MethodOption>>;

/**
 * True if the options of a call are valid; `callOptionsSchema` finds the problems of invalid ones. Written out because it runs for each
 * call with options: a loop over the table would double the cost.
 */
export function areCallOptionsValid(call: GrpcCallOptions): boolean {
  const { prefetch } = call;
  const drain: unknown = call.onDrain;
  return (
    isDuration(call.timeoutMs) &&
    isDuration(call.attemptTimeoutMs) &&
    isDuration(call.streamIdleTimeoutMs) &&
    (prefetch === undefined || (Number.isInteger(prefetch) && prefetch > 0)) &&
    (drain === undefined || drain === 'finish' || drain === 'complete' || drain === 'fail')
  );
}

function isDuration(value: unknown): boolean {
  return value === undefined || (typeof value === 'number' && value > 0);
}

/** Schema of the options that a call may override. `idempotent` and `waitForReady` accept any value; only true and false have an effect. */
export const callOptionsSchema = openObject(
  {
    timeoutMs: v.optional(METHOD_OPTIONS.timeoutMs.schema),
    attemptTimeoutMs: v.optional(METHOD_OPTIONS.attemptTimeoutMs.schema),
    streamIdleTimeoutMs: v.optional(METHOD_OPTIONS.streamIdleTimeoutMs.schema),
    prefetch: v.optional(METHOD_OPTIONS.prefetch.schema),
    onDrain: v.optional(METHOD_OPTIONS.onDrain.schema),
  },
  'an object such as { timeoutMs: 500 }',
);

/** Timeouts of one attempt; `undefined` means the method's timeout, or none. */
export type AttemptBounds = Pick<MethodOptions, 'attemptTimeoutMs' | 'streamIdleTimeoutMs'>;

/** True if a call overrides a timeout of its attempts. Such a call has its own attempt stages. */
export function overridesBounds({ attemptTimeoutMs, streamIdleTimeoutMs }: AttemptBounds): boolean {
  return attemptTimeoutMs !== undefined || streamIdleTimeoutMs !== undefined;
}

/** The rows of the table, in the type that all of them satisfy. */
export const METHOD_OPTION_ROWS: readonly (readonly [key: keyof MethodOptions, row: MethodOption])[] =
  // Object.entries() loses the type of the keys.
  Object.entries(METHOD_OPTIONS) as [keyof MethodOptions, MethodOption][];
