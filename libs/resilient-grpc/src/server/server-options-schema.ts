import { ServerCredentials } from '@grpc/grpc-js';
import * as v from 'valibot';
import {
  bytes,
  flag,
  integer,
  maxConcurrentCalls,
  milliseconds,
  millisecondsOrNone,
  object,
  onDrain,
  positiveMilliseconds,
  timeout,
  timerMilliseconds,
} from '../policy/options/option-schemas.js';
import { drainSchema } from '../nest/module-options.validation.js';

const methodEntries = {
  onDrain: v.optional(onDrain),
  maxStreamIdleMs: v.optional(timeout),
  overloadProtection: v.optional(flag),
  maxConcurrentCalls: v.optional(maxConcurrentCalls),
  maxCallMs: v.optional(timeout),
} as const;

function hasMethods(value: unknown, names: readonly string[]): boolean {
  return (
    typeof value === 'object' && value !== null && names.every((name) => typeof Reflect.get(value, name) === 'function')
  );
}

const text = v.pipe(v.string(), v.nonEmpty());
const count = v.optional(v.pipe(v.number(), v.minValue(0)));
const anyObject = v.optional(v.record(v.string(), v.unknown()));

const keepaliveSchema = object({
  keepaliveTimeMs: v.optional(milliseconds),
  keepaliveTimeoutMs: v.optional(timerMilliseconds(1)),
  keepalivePermitWithoutCalls: v.optional(v.union([flag, v.picklist([0, 1])])),
  http2MaxPingsWithoutData: count,
  http2MinTimeBetweenPingsMs: count,
  http2MinPingIntervalWithoutDataMs: count,
  http2MaxPingStrikes: count,
});

/** Nest's own options. The files and objects that they refer to are checked when the server starts. */
const nestEntries = {
  url: v.optional(v.string()),
  package: v.optional(v.union([v.string(), v.array(v.string())])),
  protoPath: v.optional(v.union([text, v.pipe(v.array(text), v.minLength(1))])),
  packageDefinition: anyObject,
  loader: anyObject,
  protoLoader: v.optional(text),
  maxSendMessageLength: v.optional(bytes),
  maxReceiveMessageLength: v.optional(bytes),
  maxMetadataSize: v.optional(integer(0)),
  keepalive: v.optional(keepaliveSchema),
  channelOptions: anyObject,
  credentials: v.optional(
    v.custom(
      (value) => value instanceof ServerCredentials,
      "grpc-js's ServerCredentials, from the copy of @grpc/grpc-js that this library uses (see npm ls @grpc/grpc-js)",
    ),
  ),
  gracefulShutdown: v.optional(flag),
  onLoadPackageDefinition: v.optional(v.function()),
} as const;

export const NEST_OPTIONS: ReadonlySet<string> = new Set(Object.keys(nestEntries));

/** Schema of the server options. Checks each option separately; `resolveServerOptions` checks their combinations. */
export const serverOptionsSchema = object({
  ...nestEntries,
  ...methodEntries,
  methods: v.optional(v.record(v.string(), object(methodEntries))),
  drain: v.optional(drainSchema),
  connections: v.optional(
    object({
      maxAgeMs: v.optional(millisecondsOrNone(1_000)),
      graceMs: v.optional(millisecondsOrNone(0)),
      idleMs: v.optional(millisecondsOrNone(1_000)),
      max: v.optional(integer(1)),
    }),
  ),
  once: v.optional(
    object({
      store: v.optional(
        v.custom(
          (value) => hasMethods(value, ['identify', 'apply']),
          'a store of this library, or an object with identify() and apply()',
        ),
      ),
      ttlMs: v.optional(integer(600_000)),
      scopeBy: v.optional(v.function()),
      maxRunMs: v.optional(positiveMilliseconds),
      sameRequest: v.optional(v.function()),
    }),
  ),
  transport: v.optional(v.picklist(['socket', 'grpc-js'])),
  health: v.optional(flag),
  reflection: v.optional(flag),
});
