import * as v from 'valibot';
import { isMetadataLike } from '../../channel/wire/call-metadata.js';
import { isChannelCredentials, targetProblem } from '../../channel/channel-checks.js';
import {
  bytes,
  flag,
  integer,
  maxConcurrentCalls,
  millisecondsOrNone,
  object,
  orFalse,
  rule,
  timeout,
  timerMilliseconds,
} from '../../policy/options/option-schemas.js';
import { propagationSchema } from './propagation-settings.js';
import { METHOD_OPTION_ROWS } from './method-options.js';

/** One entry of `methods`. */
const methodOptionsSchema = object(
  Object.fromEntries(METHOD_OPTION_ROWS.map(([key, { schema }]) => [key, v.optional(schema)])),
);

const keepaliveSchema = object({
  keepaliveTimeMs: v.optional(millisecondsOrNone(0)),
  keepaliveTimeoutMs: v.optional(timerMilliseconds(1)),
  keepalivePermitWithoutCalls: v.optional(v.union([flag, v.picklist([0, 1])])),
});

const tlsSchema = object({
  // Contents are validated when they are read.
  ca: v.optional(v.unknown()),
  cert: v.optional(v.unknown()),
  key: v.optional(v.unknown()),
  serverName: v.optional(v.pipe(v.string(), v.nonEmpty())),
  reload: v.optional(flag),
});

const anyObject = v.record(v.string(), v.unknown());

const defaultsEntries = {
  timeoutMs: v.optional(timeout),
  streamIdleTimeoutMs: v.optional(timeout),
  rejectInvalidMessages: v.optional(flag),
  outageGraceMs: v.optional(timerMilliseconds(0)),
  maxWaitingCalls: v.optional(integer(0)),
  maxConcurrentCalls: v.optional(maxConcurrentCalls),
  trustRefusedStreams: v.optional(flag),
  loadBalancing: v.optional(v.union([v.picklist(['pick_first', 'round_robin', 'least_request']), v.array(anyObject)])),
  connections: v.optional(
    object({
      warm: v.optional(flag),
      connectTimeoutMs: v.optional(timerMilliseconds(1)),
      idleMs: v.optional(timerMilliseconds(1_000)),
      maxAgeMs: v.optional(millisecondsOrNone(1_000)),
    }),
  ),
  credentials: v.optional(
    v.custom(
      isChannelCredentials,
      "grpc-js's ChannelCredentials, from the copy of @grpc/grpc-js that this library uses (see npm ls @grpc/grpc-js)",
    ),
  ),
  tls: v.optional(tlsSchema),
  transport: v.optional(v.picklist(['socket', 'grpc-js'])),
  keepalive: v.optional(keepaliveSchema),
  maxSendMessageLength: v.optional(bytes),
  maxReceiveMessageLength: v.optional(bytes),
  channelOptions: v.optional(anyObject),
  metadata: v.optional(
    v.union([v.custom(isMetadataLike), v.function(), anyObject], "an object, grpc-js's Metadata, or a function"),
  ),
  interceptors: v.optional(
    v.array(
      v.custom(
        isInterceptor,
        'an interceptor with onCall, onAttempt, or onEnd, or its class (grpc-js interceptors belong in channelOptions.interceptors)',
      ),
    ),
  ),
  propagate: v.optional(orFalse(propagationSchema)),
  ejectUnhealthy: v.optional(flag),
  dnsRefreshMs: v.optional(v.union([v.literal(false), timerMilliseconds(1_000)])),
} as const;

/** True if `value` is an interceptor instance or class. An arrow function is not a class, and an instance without hooks is a mistake. */
function isInterceptor(value: unknown): boolean {
  if (typeof value === 'function') return value.prototype !== undefined;
  if (typeof value !== 'object' || value === null) return false;
  return ['onCall', 'onAttempt', 'onEnd'].some((hook) => typeof Reflect.get(value, hook) === 'function');
}

export const clientDefaultsSchema = object(defaultsEntries);

export const clientSettingsSchema = object({
  ...defaultsEntries,
  url: v.pipe(
    v.string(),
    rule((url) => (typeof url === 'string' ? targetProblem(url) : undefined)),
  ),
  methods: v.optional(v.record(v.string(), methodOptionsSchema)),
  // Validated by `parseServiceConfig`.
  serviceConfig: v.optional(v.unknown()),
});
