import type { FailureReason, RetryRefusal } from '../errors/grpc-call-error.js';
import type { TransportProtection } from '../transport/protection.js';

/**
 * What a client or a server ends a connection for, refuses or fails a call for, or delays a call or a reconnect for, by its own will. Where
 * the error of a call has a reason, the protection has the same name.
 */
export type ProtectionId =
  | TransportProtection
  // Of the server.
  /** A request that is not gRPC. */
  | 'not-grpc'
  /** Calls that an overloaded server cannot serve in time. */
  | Extract<FailureReason, 'overloaded'>
  /** An Observable is far ahead of the client. */
  | 'responses-overflow'
  // Of both sides.
  | Extract<FailureReason, 'concurrency-limit' | 'stream-idle'>
  // Of the client.
  | Extract<FailureReason, 'outage' | 'too-many-waiting' | 'circuit-open' | 'attempt-timeout' | 'requests-overflow'>
  | Extract<RetryRefusal, 'throttled' | 'hedge-budget' | 'attempts-exhausted' | 'request-not-replayable'>
  /** An attempt to connect takes too long. */
  | 'connect-timeout'
  /** The time between attempts to connect. */
  | 'backoff'
  /** The time before the next connection to a server that closes each one. */
  | 'hold-off'
  /** A silent connection does not answer a probe. */
  | 'suspicion'
  /** An endpoint that does worse than the others. */
  | 'ejection'
  /** Calls that waited are sent at a limited rate. */
  | 'release-pace'
  /** A server gives a connection no window, so that calls use another one. */
  | 'window-stall'
  /** A server has rejected keepalive pings. */
  | 'throttled-keepalive'
  /** Headers that the server would not take. */
  | 'request-headers'
  /** A resumable stream has too many unacknowledged messages. */
  | 'replay-buffer'
  /** Changes of addresses, and lookups, in quick succession. */
  | 'address-updates';
