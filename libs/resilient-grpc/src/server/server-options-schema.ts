import { ServerCredentials } from '@grpc/grpc-js';
import * as v from 'valibot';
import {
  bytes,
  flag,
  integer,
  maxConcurrentCalls,
  milliseconds,
  millisecondsOrNone,
  millisecondsOrNever,
  object,
  onDrain,
  timeout,
} from '../policy/options/option-schemas.js';
import { drainSchema } from '../nest/module-options.validation.js';

const methodEntries = {
  onDrain: v.optional(onDrain),
  maxStreamIdleMs: v.optional(timeout),
  overloadProtection: v.optional(flag),
  maxConcurrentCalls: v.optional(maxConcurrentCalls),
  maxCallMs: v.optional(timeout),
} as const;

const nonEmptyText = (expected: string) => v.pipe(v.string(expected), v.nonEmpty(expected));
const count = v.pipe(v.number('a number of 0 or more'), v.minValue(0, 'a number of 0 or more'));

const keepaliveSchema = object(
  {
    keepaliveTimeMs: v.optional(millisecondsOrNever(0)),
    keepaliveTimeoutMs: v.optional(milliseconds(1)),
    keepalivePermitWithoutCalls: v.optional(v.union([flag, v.picklist([0, 1])], 'true, false, 0, or 1')),
    http2MaxPingsWithoutData: v.optional(count),
    http2MinTimeBetweenPingsMs: v.optional(count),
    http2MinPingIntervalWithoutDataMs: v.optional(count),
    http2MaxPingStrikes: v.optional(count),
  },
  'an object such as { keepaliveTimeMs: 30000 }',
);

const PROTO_FILES = "a .proto file or an array of .proto files such as 'orders.proto'";
const file = v.pipe(v.string(PROTO_FILES), v.nonEmpty(PROTO_FILES));

/** Nest's own options. The files and objects that they refer to are checked when the server starts. */
const nestEntries = {
  url: v.optional(v.string("an address such as '0.0.0.0:50051'")),
  package: v.optional(
    v.union([v.string(), v.array(v.string())], "a package or an array of packages such as 'orders.v1'"),
  ),
  protoPath: v.optional(v.union([file, v.pipe(v.array(file), v.minLength(1, PROTO_FILES))], PROTO_FILES)),
  packageDefinition: v.optional(v.record(v.string(), v.unknown(), "the result of proto-loader's loadSync()")),
  loader: v.optional(v.record(v.string(), v.unknown(), 'proto-loader options such as { longs: String }')),
  protoLoader: v.optional(nonEmptyText("a package name such as '@grpc/proto-loader'")),
  maxSendMessageLength: v.optional(bytes),
  maxReceiveMessageLength: v.optional(bytes),
  maxMetadataSize: v.optional(integer(0)),
  keepalive: v.optional(keepaliveSchema),
  channelOptions: v.optional(
    v.record(v.string(), v.unknown(), "an object of grpc-js options such as { 'grpc.max_concurrent_streams': 100 }"),
  ),
  credentials: v.optional(
    v.custom(
      (value) => value instanceof ServerCredentials,
      "grpc-js's ServerCredentials, such as ServerCredentials.createSsl(...), from the copy of @grpc/grpc-js that this library uses (see npm ls @grpc/grpc-js)",
    ),
  ),
  gracefulShutdown: v.optional(flag),
  onLoadPackageDefinition: v.optional(v.function('a function such as (definition, server) => ...')),
} as const;

/** Schema of the server options. Checks each option separately; `resolveServerOptions` checks their combinations. */
export const serverOptionsSchema = object(
  {
    ...nestEntries,
    ...methodEntries,
    methods: v.optional(
      v.record(
        v.string(),
        object(methodEntries, "an object of method options such as { onDrain: 'complete' }"),
        "an object of options by method, such as { Watch: { onDrain: 'complete' } }",
      ),
    ),
    drain: v.optional(drainSchema),
    connections: v.optional(
      object(
        {
          maxAgeMs: v.optional(millisecondsOrNone(1_000)),
          graceMs: v.optional(millisecondsOrNone(0)),
          idleMs: v.optional(millisecondsOrNone(1_000)),
        },
        'an object such as { maxAgeMs: 1800000 }',
      ),
    ),
    health: v.optional(flag),
    reflection: v.optional(flag),
  },
  "an object of options such as { package: 'orders.v1', protoPath: 'orders.proto', url: '0.0.0.0:50051' }",
);
