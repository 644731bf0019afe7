import * as v from 'valibot';
import { isMetadataLike } from '../../channel/attempt/call-metadata.js';
import { isChannelCredentials, targetProblem } from '../../channel/channel-checks.js';
import { concurrencyLimit } from '../../policy/concurrency/concurrency-schema.js';
import {
  bytes,
  flag,
  integer,
  milliseconds,
  millisecondsOrNone,
  object,
  oneOf,
  orFalse,
  rule,
  timeout,
  withRemedy,
} from '../../policy/options/option-schemas.js';
import { ejectUnhealthySchema } from '../../policy/ejection/ejection-schema.js';
import { healthCheckConfigSchema } from '../../policy/service-config/service-config-schema.js';
import { choiceRemedy, sameRemedy, type KeyRemedies } from '../../policy/options/value-rules.js';
import { CONTRACT_KEYS } from './contract.js';
import { METHOD_OPTION_ROWS } from './method-options.js';

/** One entry of `methods`. */
const methodOptionsSchema = object(
  Object.fromEntries(METHOD_OPTION_ROWS.map(([key, { schema }]) => [key, v.optional(schema)])),
  'an object of method options such as { idempotent: true }',
);

const keepaliveSchema = object(
  {
    keepaliveTimeMs: v.optional(millisecondsOrNone(0)),
    keepaliveTimeoutMs: v.optional(milliseconds(1)),
    keepalivePermitWithoutCalls: v.optional(v.union([flag, v.picklist([0, 1])], 'true, false, 0, or 1')),
  },
  'an object such as { keepaliveTimeMs: 30000 }',
);

const tlsSchema = object(
  {
    // Contents are validated when they are read.
    ca: v.optional(v.unknown()),
    cert: v.optional(v.unknown()),
    key: v.optional(v.unknown()),
    serverName: v.optional(v.pipe(v.string('a host name'), v.nonEmpty('a host name'))),
    reload: v.optional(flag),
  },
  "an object such as { ca: '/run/tls/ca.pem' }, or {} for Node's default certificate authorities",
  {
    ...sameRemedy(['cacert', 'caCert', 'rootCert', 'rootCerts', 'rootCertificates', 'trust'], 'write `ca`'),
    ...sameRemedy(['certificate', 'certChain', 'clientCert'], 'write `cert`'),
    ...sameRemedy(['privateKey', 'clientKey'], 'write `key`'),
    rejectUnauthorized: 'every server certificate is verified; write `ca` to trust its authority',
  },
);

const LOAD_BALANCING_POLICIES = ['pick_first', 'round_robin', 'least_request'] as const;
const loadBalancingText =
  "'pick_first', 'round_robin', 'least_request', or a loadBalancingConfig such as [{ round_robin: {} }]";

const defaultsEntries = {
  timeoutMs: v.optional(timeout),
  streamIdleTimeoutMs: v.optional(timeout),
  rejectInvalidMessages: v.optional(flag),
  outageGraceMs: v.optional(milliseconds(0, ', or `waitForReady: true` in `methods` for no limit')),
  maxWaitingCalls: v.optional(integer(0)),
  maxConcurrentCalls: v.optional(orFalse(concurrencyLimit)),
  maxQueuedCalls: v.optional(integer(0)),
  trustRefusedStreams: v.optional(flag),
  connection: v.optional(oneOf(['on-demand', 'warm'])),
  loadBalancing: v.optional(
    v.union([v.picklist(LOAD_BALANCING_POLICIES), v.array(v.record(v.string(), v.unknown()))], ({ input }) =>
      withRemedy(loadBalancingText, choiceRemedy(input, LOAD_BALANCING_POLICIES)),
    ),
  ),
  connectTimeoutMs: v.optional(milliseconds(1)),
  connectionIdleTimeoutMs: v.optional(milliseconds(1_000)),
  maxConnectionAgeMs: v.optional(millisecondsOrNone(1_000)),
  credentials: v.optional(
    v.custom(
      isChannelCredentials,
      "grpc-js's ChannelCredentials, such as credentials.createSsl(), from the copy of @grpc/grpc-js that this library uses (see npm ls @grpc/grpc-js)",
    ),
  ),
  tls: v.optional(tlsSchema),
  keepalive: v.optional(keepaliveSchema),
  maxSendMessageLength: v.optional(bytes),
  maxReceiveMessageLength: v.optional(bytes),
  channelOptions: v.optional(
    v.record(
      v.string(),
      v.unknown(),
      "an object of grpc-js's channel options such as { 'grpc.primary_user_agent': 'shop' }",
    ),
  ),
  metadata: v.optional(
    v.union(
      [v.custom(isMetadataLike), v.function(), v.record(v.string(), v.unknown())],
      "an object such as { 'x-tenant': 'shop' }, grpc-js's Metadata, or a function that returns one",
    ),
  ),
  interceptors: v.optional(
    v.array(
      v.custom(
        isInterceptor,
        'an interceptor with onCall, onAttempt, or onEnd, or its class (grpc-js interceptors belong in channelOptions.interceptors)',
      ),
      'an array of interceptors such as [new TokenInterceptor()] or [TokenInterceptor]',
    ),
  ),
  // Validated by `propagationProblems`.
  propagate: v.optional(v.unknown()),
  ejectUnhealthy: v.optional(ejectUnhealthySchema),
  healthCheckConfig: v.optional(healthCheckConfigSchema),
  dnsRefreshMs: v.optional(
    v.union(
      [v.literal(false), milliseconds(1_000, ', or false for lookups only on demand')],
      'a number of milliseconds, 1000 or more, or false for lookups only on demand',
    ),
  ),
  maxConnectionsPerEndpoint: v.optional(integer(1)),
} as const;

/** True if `value` is an interceptor instance or class. An arrow function is not a class, and an instance without hooks is a mistake. */
function isInterceptor(value: unknown): boolean {
  if (typeof value === 'function') return value.prototype !== undefined;
  if (typeof value !== 'object' || value === null) return false;
  return ['onCall', 'onAttempt', 'onEnd'].some((hook) => typeof Reflect.get(value, hook) === 'function');
}

/** Remedies for keys of other libraries, and for misplaced keys. */
const SETTINGS_KEY_REMEDIES: KeyRemedies = {
  options:
    "it is Nest's nested form; move `protoPath`, `packageDefinition`, `package`, and `loader` next to `name`, and the other keys, such as `url`, out of `options`",
  transport: 'the transport is always gRPC; remove `transport`',
  customClass: 'this library provides the client class; remove `customClass`',
  protoLoader:
    '@grpc/proto-loader is always used; remove `protoLoader`, or load the files yourself and write `packageDefinition`',
  maxMetadataSize: 'grpc-js ignores this setting; remove it',
  gracefulShutdown: "it is an option of Nest's server; remove it",
  drain: 'it applies to all clients; move it to forRoot()',
  onLoadPackageDefinition: "it is an option of Nest's server; remove it",
  deadline: 'write `timeoutMs`, a duration in milliseconds from the start of each call',
  timeout: 'write `timeoutMs`, in milliseconds',
  ...sameRemedy(['retries', 'maxRetries', 'maxAttempts'], 'write methods: { Get: { retry: { maxAttempts: 3 } } }'),
  retryPolicy: 'move it to `serviceConfig`: { methodConfig: [{ name: [{ service }], retryPolicy }] }',
  methodConfig: 'move it to `serviceConfig`: { methodConfig: [...] }',
  hedging:
    "write methods: { Get: { idempotent: true, hedge: 'p95' } }, or a hedgingPolicy in `serviceConfig`: { methodConfig: [{ name: [{ service }], hedgingPolicy }] }",
  hedgingPolicy: 'move it to `serviceConfig`: { methodConfig: [{ name: [{ service }], hedgingPolicy }] }',
  headers: 'write `metadata`',
  ...Object.fromEntries(
    METHOD_OPTION_ROWS.flatMap(([key, { example }]) =>
      example === undefined ? [] : [[key, `write it per method: ${example}`]],
    ),
  ),
  ...sameRemedy(['host', 'port', 'hostname', 'address', 'target'], "write `url`: 'host:port'"),
  ...sameRemedy(['ssl', 'secure'], "write `tls`: { ca, cert, key }, or {} for Node's default certificate authorities"),
  insecure: 'remove it; connections are unencrypted if neither `tls` nor `credentials` is set',
  ...sameRemedy(CONTRACT_KEYS, 'the contract belongs next to `name`; write it only there'),
  ...sameRemedy(
    ['useFactory', 'useClass', 'useExisting', 'inject', 'imports'],
    'move the client to ResilientGrpcModule.forFeatureAsync([...])',
  ),
  name: 'the name belongs next to the factory; write it only there',
};

/** Schema of `forRoot({ defaults })`. */
export const clientDefaultsSchema = object(defaultsEntries, 'an object of settings such as { timeoutMs: 2000 }', {
  ...SETTINGS_KEY_REMEDIES,
  ...sameRemedy(['url', 'methods', 'serviceConfig'], 'it differs between clients; move it to forFeature()'),
});

/** Schema of the settings of one client. */
export const clientSettingsSchema = object(
  {
    ...defaultsEntries,
    url: v.pipe(
      v.string("a target such as 'orders:50051'"),
      rule((url) => (typeof url === 'string' ? targetProblem(url) : undefined)),
    ),
    methods: v.optional(
      v.record(
        v.string(),
        methodOptionsSchema,
        'an object of options by method, such as { Get: { idempotent: true } }',
      ),
    ),
    // Validated by `parseServiceConfig`.
    serviceConfig: v.optional(v.unknown()),
  },
  "an object of settings such as { url: 'orders:50051' }",
  SETTINGS_KEY_REMEDIES,
  ['name', ...CONTRACT_KEYS, 'transport', 'options'],
);
