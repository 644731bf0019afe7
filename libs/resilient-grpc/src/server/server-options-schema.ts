import { ServerCredentials } from '@grpc/grpc-js';
import * as v from 'valibot';
import {
  POSITIVE,
  bytes,
  flag,
  integer,
  milliseconds,
  millisecondsOrNone,
  millisecondsOrNever,
  onDrain,
  orUndefined,
} from '../client/settings/schema-values.js';
import type { KeyRemedies } from '../client/settings/validate-options.js';
import { drainSchema } from '../nest/module-options.validation.js';

const methodEntries = {
  onDrain: orUndefined(onDrain),
  streamIdleTimeoutMs: orUndefined(millisecondsOrNone(POSITIVE)),
  maxQueuedResponseBytes: orUndefined(integer(1)),
} as const;

const text = (what: string) => v.pipe(v.string(what), v.nonEmpty(what));
const count = v.pipe(v.number('a number of 0 or more'), v.minValue(0, 'a number of 0 or more'));

const keepaliveSchema = v.object(
  {
    keepaliveTimeMs: orUndefined(millisecondsOrNever(0, 'for no pings')),
    keepaliveTimeoutMs: orUndefined(milliseconds(1)),
    keepalivePermitWithoutCalls: orUndefined(v.union([flag, v.picklist([0, 1])], 'true, false, 0 or 1')),
    http2MaxPingsWithoutData: orUndefined(count),
    http2MinTimeBetweenPingsMs: orUndefined(count),
    http2MinPingIntervalWithoutDataMs: orUndefined(count),
    http2MaxPingStrikes: orUndefined(count),
  },
  'an object such as { keepaliveTimeMs: 30000 }',
);

const FILES = "a .proto file or an array of .proto files such as 'orders.proto'";
const file = v.pipe(v.string(FILES), v.nonEmpty(FILES));

/** Nest's own options. The files and objects that they refer to are checked when the server starts. */
const nestEntries = {
  url: orUndefined(v.string("an address such as '0.0.0.0:50051'")),
  package: orUndefined(
    v.union([v.string(), v.array(v.string())], "a package or an array of packages such as 'orders.v1'"),
  ),
  protoPath: orUndefined(v.union([file, v.pipe(v.array(file), v.minLength(1, FILES))], FILES)),
  packageDefinition: orUndefined(v.record(v.string(), v.unknown(), "the result of proto-loader's loadSync()")),
  loader: orUndefined(v.record(v.string(), v.unknown(), 'proto-loader options such as { longs: String }')),
  protoLoader: orUndefined(text("a package name such as '@grpc/proto-loader'")),
  maxSendMessageLength: orUndefined(bytes),
  maxReceiveMessageLength: orUndefined(bytes),
  maxMetadataSize: orUndefined(integer(0)),
  keepalive: orUndefined(keepaliveSchema),
  channelOptions: orUndefined(
    v.record(v.string(), v.unknown(), "an object of grpc-js options such as { 'grpc.max_concurrent_streams': 100 }"),
  ),
  credentials: orUndefined(
    v.custom(
      (value) => value instanceof ServerCredentials,
      "grpc-js's ServerCredentials, such as ServerCredentials.createSsl(...), from the same copy of @grpc/grpc-js (see npm ls @grpc/grpc-js)",
    ),
  ),
  gracefulShutdown: orUndefined(flag),
  onLoadPackageDefinition: orUndefined(v.function('a function such as (definition, server) => ...')),
} as const;

/** Schema of the server options. Checks each option alone; `resolveServerOptions` checks their combinations. */
export const serverOptionsSchema = v.object(
  {
    ...nestEntries,
    ...methodEntries,
    methods: orUndefined(
      v.record(
        v.string(),
        v.object(methodEntries, "an object of method options such as { onDrain: 'complete' }"),
        "an object by method such as { Watch: { onDrain: 'complete' } }",
      ),
    ),
    drain: orUndefined(drainSchema),
    leakWarningMs: orUndefined(millisecondsOrNever(POSITIVE, 'for no warning')),
    maxConnectionAgeMs: orUndefined(millisecondsOrNone(1_000)),
    maxConnectionAgeGraceMs: orUndefined(millisecondsOrNone(0)),
    connectionIdleTimeoutMs: orUndefined(millisecondsOrNone(1_000)),
    maxConcurrentStreams: orUndefined(integer(1)),
    backlog: orUndefined(integer(1)),
    health: orUndefined(flag),
    reflection: orUndefined(flag),
  },
  "an object of options such as { package: 'orders.v1', protoPath: 'orders.proto', url: '0.0.0.0:50051' }",
);

const CLIENTS = 'it is a client option of ResilientGrpcModule; leave it out';
const HOST = "write `url`: '0.0.0.0:50051'";
const SHUTDOWN = 'write drain: { timeoutMs }';

/** Remedies for keys that users know from other libraries or modules. */
export const SERVER_KEY_REMEDIES: KeyRemedies = {
  options: "write the keys of Nest's nested `options` directly: forRoot({ url, protoPath, package })",
  transport: 'the transport is always gRPC; leave it out',
  strategy: 'pass it to Nest: connectMicroservice({ strategy: app.get(ResilientGrpcServer) })',
  isGlobal: 'leave it out',
  host: HOST,
  hostname: HOST,
  port: HOST,
  tls: 'write credentials: ServerCredentials.createSsl(...)',
  insecure: 'leave it out; without `credentials`, the server uses no TLS',
  interceptors:
    'write channelOptions: { interceptors } for grpc-js interceptors; bind Nest interceptors to their handlers',
  drainTimeoutMs: SHUTDOWN,
  shutdownTimeoutMs: SHUTDOWN,
  timeoutMs: SHUTDOWN,
  readinessDelayMs: 'write drain: { readinessDelayMs }',
  maxConnectionIdleMs: 'write `connectionIdleTimeoutMs`',
  keepaliveTimeMs: 'write keepalive: { keepaliveTimeMs }',
  keepaliveTimeoutMs: 'write keepalive: { keepaliveTimeoutMs }',
  propagate: 'write it for outgoing calls, in ResilientGrpcModule.forRoot({ propagate })',
  defaults: CLIENTS,
  clients: CLIENTS,
  serviceConfig: CLIENTS,
  maxQueuedRequestBytes:
    'requests are read only as handlers consume them; leave it out, or write `maxQueuedResponseBytes`',
};
