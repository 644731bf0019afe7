import * as v from 'valibot';
import { isMetadataLike } from '../../channel/attempt/call-metadata.js';
import { isChannelCredentials } from '../../channel/channel-checks.js';
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
} from './schema-values.js';

/** One entry of `methods`. */
const methodOptionsSchema = v.object(
  {
    timeoutMs: orUndefined(millisecondsOrNone(POSITIVE)),
    attemptTimeoutMs: orUndefined(millisecondsOrNone(POSITIVE)),
    streamIdleTimeoutMs: orUndefined(millisecondsOrNone(POSITIVE)),
    prefetch: orUndefined(integer(1)),
    onDrain: orUndefined(onDrain),
    maxQueuedRequestBytes: orUndefined(integer(1)),
    idempotent: orUndefined(flag),
    waitForReady: orUndefined(flag),
    // Validated by `circuitBreakerProblems`.
    circuitBreaker: orUndefined(v.unknown()),
    maxConcurrentCalls: orUndefined(integer(1)),
  },
  'an object of method options such as { idempotent: true }',
);

const keepaliveSchema = v.object(
  {
    keepaliveTimeMs: orUndefined(millisecondsOrNone(0)),
    keepaliveTimeoutMs: orUndefined(milliseconds(1)),
    keepalivePermitWithoutCalls: orUndefined(v.union([flag, v.picklist([0, 1])], 'true, false, 0 or 1')),
  },
  'an object such as { keepaliveTimeMs: 30000 }',
);

const tlsSchema = v.object(
  {
    // Contents are validated when they are read.
    ca: orUndefined(v.unknown()),
    cert: orUndefined(v.unknown()),
    key: orUndefined(v.unknown()),
    serverName: orUndefined(v.pipe(v.string('a host name'), v.nonEmpty('a host name'))),
    reload: orUndefined(flag),
  },
  "an object such as { ca: '/run/tls/ca.pem' }, or {} for the system's certificate authorities",
);

const loadBalancingText = "'pick_first', 'round_robin' or a loadBalancingConfig such as [{ round_robin: {} }]";

const defaultsEntries = {
  timeoutMs: orUndefined(millisecondsOrNone(POSITIVE)),
  streamIdleTimeoutMs: orUndefined(millisecondsOrNone(POSITIVE)),
  unreadStreamWarningMs: orUndefined(millisecondsOrNever(POSITIVE, 'for no warning')),
  traceStreams: orUndefined(flag),
  outageGraceMs: orUndefined(milliseconds(0, ', or `waitForReady: true` in `methods` for no limit')),
  maxWaitingCalls: orUndefined(integer(0)),
  maxWaitingBytes: orUndefined(integer(0)),
  maxConcurrentCalls: orUndefined(integer(1)),
  maxQueuedCalls: orUndefined(integer(0)),
  maxAttemptsLimit: orUndefined(integer(2)),
  trustRefusedStreams: orUndefined(flag),
  connection: orUndefined(v.picklist(['on-demand', 'warm'], "'on-demand' or 'warm'")),
  loadBalancing: orUndefined(
    v.union(
      [v.picklist(['pick_first', 'round_robin']), v.pipe(v.array(v.record(v.string(), v.unknown())), v.minLength(1))],
      loadBalancingText,
    ),
  ),
  connectTimeoutMs: orUndefined(milliseconds(1)),
  connectionIdleTimeoutMs: orUndefined(milliseconds(1_000)),
  maxConnectionAgeMs: orUndefined(millisecondsOrNone(1_000)),
  credentials: orUndefined(
    v.custom(
      isChannelCredentials,
      "grpc-js's ChannelCredentials, such as credentials.createSsl(), from the same copy of @grpc/grpc-js (see npm ls @grpc/grpc-js)",
    ),
  ),
  tls: orUndefined(tlsSchema),
  keepalive: orUndefined(keepaliveSchema),
  maxSendMessageLength: orUndefined(bytes),
  maxReceiveMessageLength: orUndefined(bytes),
  channelOptions: orUndefined(
    v.record(
      v.string(),
      v.unknown(),
      "an object of grpc-js's channel options such as { 'grpc.primary_user_agent': 'shop' }",
    ),
  ),
  metadata: orUndefined(
    v.union(
      [v.custom(isMetadataLike), v.function(), v.record(v.string(), v.unknown())],
      "an object such as { 'x-tenant': 'shop' }, grpc-js's Metadata, or a function that returns one",
    ),
  ),
  interceptors: orUndefined(
    v.array(
      v.custom(
        isInterceptor,
        'an interceptor with onCall, onAttempt or onEnd, or its class (grpc-js interceptors belong in channelOptions.interceptors)',
      ),
      'an array of interceptors such as [new TokenInterceptor()] or [TokenInterceptor]',
    ),
  ),
  // Validated by `propagationProblems`.
  propagate: orUndefined(v.unknown()),
} as const;

/** True for an interceptor instance or class. An arrow function is not a class, and an instance without hooks is a mistake. */
function isInterceptor(value: unknown): boolean {
  if (typeof value === 'function') return value.prototype !== undefined;
  if (typeof value !== 'object' || value === null) return false;
  return ['onCall', 'onAttempt', 'onEnd'].some((hook) => typeof Reflect.get(value, hook) === 'function');
}

/** Schema of `forRoot({ defaults })`. */
export const clientDefaultsSchema = v.object(defaultsEntries, 'an object of settings such as { timeoutMs: 2000 }');

/** Schema of the settings of one client. */
export const clientSettingsSchema = v.object(
  {
    ...defaultsEntries,
    url: v.string("a target such as 'orders:50051'"),
    methods: orUndefined(
      v.record(v.string(), methodOptionsSchema, 'an object of options by method such as { Get: { idempotent: true } }'),
    ),
    // Validated by `parseServiceConfig`.
    serviceConfig: orUndefined(v.unknown()),
  },
  "an object of settings such as { url: 'orders:50051' }",
);
