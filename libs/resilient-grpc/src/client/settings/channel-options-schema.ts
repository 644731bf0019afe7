import * as v from 'valibot';
import type { ConfigurationProblem } from '../../errors/grpc-configuration-error.js';
import { bytes, integer, timerMilliseconds } from '../../policy/options/option-schemas.js';
import { optionProblems } from '../../policy/options/option-problems.js';

/**
 * Schema of a string that grpc-js sends to a server or a proxy, mostly in a header. Allows only printable ASCII, because Node throws for
 * characters that a header must not contain.
 */
const headerText = v.optional(
  v.pipe(v.string(), v.regex(/^[ -~]{0,4096}$/, 'printable ASCII of at most 4096 characters')),
);
const bit = v.optional(v.picklist([0, 1]));
const whole = (min: number) => v.optional(integer(min));
/**
 * A duration within the range of a timer. Node fires a longer timer immediately, so pings or connection attempts would repeat without a
 * pause.
 */
const timer = (min: number) => v.optional(timerMilliseconds(min));

/**
 * Options that grpc-js's client reads. grpc-js does not validate them, so a value of the wrong type can cause an uncaught error in a timer
 * or a socket listener. Other keys are passed on, because resolvers and load balancers have their own options.
 */
const schema = v.object({
  'grpc.ssl_target_name_override': headerText,
  'grpc.primary_user_agent': headerText,
  'grpc.secondary_user_agent': headerText,
  'grpc.default_authority': headerText,
  'grpc.http_connect_target': headerText,
  'grpc.http_connect_creds': headerText,
  'grpc.keepalive_time_ms': timer(-1),
  'grpc.keepalive_timeout_ms': timer(1),
  'grpc.keepalive_permit_without_calls': bit,
  'grpc.initial_reconnect_backoff_ms': timer(1),
  'grpc.max_reconnect_backoff_ms': timer(1),
  'grpc.dns_min_time_between_resolutions_ms': timer(0),
  'grpc.client_idle_timeout_ms': timer(0),
  'grpc.max_concurrent_streams': whole(1),
  'grpc.max_send_message_length': v.optional(bytes),
  'grpc.max_receive_message_length': v.optional(bytes),
  'grpc.per_rpc_retry_buffer_size': whole(0),
  'grpc.retry_buffer_size': whole(0),
  'grpc.enable_http_proxy': bit,
  'grpc.enable_channelz': bit,
  'grpc.default_compression_algorithm': v.optional(v.picklist([0, 1, 2])),
  'grpc.lb.ring_hash.ring_size_cap': whole(1),
  'grpc-node.max_session_memory': whole(1),
  'grpc-node.retry_max_attempts_limit': whole(2),
  'grpc-node.flow_control_window': v.optional(integer(65_535, 2 ** 31 - 1)),
  'grpc-node.tls_enable_trace': bit,
});

const CLIENT_KEYS = Object.keys(schema.entries);

/** Returns the problems of the values in `options` at `path`. Only `keys` are checked. */
export function channelValueProblems(
  options: Readonly<Record<string, unknown>>,
  path: string,
  keys: readonly string[] = CLIENT_KEYS,
): ConfigurationProblem[] {
  const known = Object.entries(options).filter(([key]) => keys.includes(key));
  return optionProblems(schema, Object.fromEntries(known), path);
}
