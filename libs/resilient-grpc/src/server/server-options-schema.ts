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
  'an object, as { keepaliveTimeMs: 30000 }',
);

const FILES = "a .proto file or an array of them, as 'orders.proto'";
const file = v.pipe(v.string(FILES), v.nonEmpty(FILES));

/** Nest's own options. The files and objects that they refer to are checked when the server starts. */
const nestEntries = {
  url: orUndefined(v.string("an address, as '0.0.0.0:50051'")),
  package: orUndefined(v.union([v.string(), v.array(v.string())], "a package or an array of them, as 'orders.v1'")),
  protoPath: orUndefined(v.union([file, v.pipe(v.array(file), v.minLength(1, FILES))], FILES)),
  packageDefinition: orUndefined(v.record(v.string(), v.unknown(), "what proto-loader's loadSync() gives")),
  loader: orUndefined(v.record(v.string(), v.unknown(), 'options of proto-loader, as { longs: String }')),
  protoLoader: orUndefined(text("the name of a package, as '@grpc/proto-loader'")),
  maxSendMessageLength: orUndefined(bytes),
  maxReceiveMessageLength: orUndefined(bytes),
  maxMetadataSize: orUndefined(integer(0)),
  keepalive: orUndefined(keepaliveSchema),
  channelOptions: orUndefined(
    v.record(v.string(), v.unknown(), "an object of grpc-js's options, as { 'grpc.max_concurrent_streams': 100 }"),
  ),
  credentials: orUndefined(
    v.custom(
      (value) => value instanceof ServerCredentials,
      "grpc-js's ServerCredentials, as ServerCredentials.createSsl(...), of the one @grpc/grpc-js installed (npm ls @grpc/grpc-js)",
    ),
  ),
  gracefulShutdown: orUndefined(flag),
  onLoadPackageDefinition: orUndefined(v.function('a function, as (definition, server) => ...')),
} as const;

/** Schema of the server options. Checks each option alone; `resolveServerOptions` checks their combinations. */
export const serverOptionsSchema = v.object(
  {
    ...nestEntries,
    ...methodEntries,
    methods: orUndefined(
      v.record(
        v.string(),
        v.object(methodEntries, "an object of method options, as { onDrain: 'complete' }"),
        "an object by method, as { Watch: { onDrain: 'complete' } }",
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
  "an object of options, as { package: 'orders.v1', protoPath: 'orders.proto', url: '0.0.0.0:50051' }",
);

const CLIENTS = 'it belongs to clients, in ResilientGrpcModule; leave it out';
const HOST = "write `url`: '0.0.0.0:50051'";
const SHUTDOWN = 'write drain: { timeoutMs }';

/** Remedies for keys that users know from other libraries or modules. */
export const SERVER_KEY_REMEDIES: KeyRemedies = {
  options: "it is Nest's nested form; write its keys here: forRoot({ url, protoPath, package })",
  transport: 'it is always gRPC; leave it out',
  strategy: 'write it where Nest takes it: connectMicroservice({ strategy: app.get(ResilientGrpcServer) })',
  isGlobal: 'leave it out',
  host: HOST,
  hostname: HOST,
  port: HOST,
  tls: 'write credentials: ServerCredentials.createSsl(...)',
  insecure: 'leave it out: without `credentials` the server is plain',
  interceptors: "those of grpc-js belong into channelOptions: { interceptors }, Nest's beside their handlers",
  drainTimeoutMs: SHUTDOWN,
  shutdownTimeoutMs: SHUTDOWN,
  timeoutMs: SHUTDOWN,
  readinessDelayMs: 'write drain: { readinessDelayMs }',
  maxConnectionIdleMs: 'write `connectionIdleTimeoutMs`',
  keepaliveTimeMs: 'write keepalive: { keepaliveTimeMs }',
  keepaliveTimeoutMs: 'write keepalive: { keepaliveTimeoutMs }',
  propagate: 'what is handed on to outgoing calls stands in ResilientGrpcModule.forRoot({ propagate })',
  defaults: CLIENTS,
  clients: CLIENTS,
  serviceConfig: CLIENTS,
  maxQueuedRequestBytes: 'requests are read as handlers take them; leave it out, or write `maxQueuedResponseBytes`',
};
