import * as v from 'valibot';
import { isMetadataLike } from '../../channel/attempt/call-metadata.js';
import { isChannelCredentials, targetProblem } from '../../channel/channel-checks.js';
import {
  bytes,
  flag,
  integer,
  maxConcurrentCalls,
  milliseconds,
  millisecondsOrNone,
  misplaced,
  object,
  orFalse,
  rule,
  timeout,
} from '../../policy/options/option-schemas.js';
import { CONTRACT_KEYS } from './contract.js';
import { propagationSchema } from './propagation-settings.js';
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
);

const LOAD_BALANCING_POLICIES = ['pick_first', 'round_robin', 'least_request'] as const;
const loadBalancingText =
  "'pick_first', 'round_robin', 'least_request', or a loadBalancingConfig such as [{ round_robin: {} }]";

const defaultsEntries = {
  timeoutMs: v.optional(timeout),
  streamIdleTimeoutMs: v.optional(timeout),
  rejectInvalidMessages: v.optional(flag),
  outageGraceMs: v.optional(milliseconds(0)),
  maxWaitingCalls: v.optional(integer(0)),
  maxConcurrentCalls: v.optional(maxConcurrentCalls),
  trustRefusedStreams: v.optional(flag),
  loadBalancing: v.optional(
    v.union([v.picklist(LOAD_BALANCING_POLICIES), v.array(v.record(v.string(), v.unknown()))], loadBalancingText),
  ),
  connections: v.optional(
    object(
      {
        warm: v.optional(flag),
        connectTimeoutMs: v.optional(milliseconds(1)),
        idleMs: v.optional(milliseconds(1_000)),
        maxAgeMs: v.optional(millisecondsOrNone(1_000)),
      },
      'an object such as { idleMs: 50000 }',
    ),
  ),
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
  propagate: v.optional(orFalse(propagationSchema)),
  ejectUnhealthy: v.optional(flag),
  dnsRefreshMs: v.optional(
    v.union(
      [v.literal(false), milliseconds(1_000)],
      'a number of milliseconds, 1000 or more, or false for lookups only on demand',
    ),
  ),
} as const;

/** True if `value` is an interceptor instance or class. An arrow function is not a class, and an instance without hooks is a mistake. */
function isInterceptor(value: unknown): boolean {
  if (typeof value === 'function') return value.prototype !== undefined;
  if (typeof value !== 'object' || value === null) return false;
  return ['onCall', 'onAttempt', 'onEnd'].some((hook) => typeof Reflect.get(value, hook) === 'function');
}

/** Schema of `forRoot({ defaults })`. */
export const clientDefaultsSchema = object(
  {
    ...defaultsEntries,
    url: misplaced('in forFeature()'),
    methods: misplaced('in forFeature()'),
    serviceConfig: misplaced('in forFeature()'),
  },
  'an object of settings such as { timeoutMs: 2000 }',
);

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
    ...Object.fromEntries(['name', ...CONTRACT_KEYS].map((key) => [key, misplaced('next to the factory')])),
    // Nest's nested form, which only a factory can contain: forFeature() moves the keys out of it.
    options: v.optional(v.never('its keys outside of `options`')),
    drain: misplaced('in forRoot()'),
  },
  "an object of settings such as { url: 'orders:50051' }",
);
