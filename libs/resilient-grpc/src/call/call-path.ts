/**
 * Reason why calls pass through grpc-js's channel instead of running directly on a connection:
 * - 'disabled': the environment variable NESTJS_RESILIENT_GRPC_DIRECT_CALLS is `off`.
 * - 'resolver': the application or `xds:` provides the resolver of the target, and only grpc-js applies the resolver's service config.
 * - 'send-compression': grpc-js compresses requests in its channel.
 * - 'call-credentials': the channel credentials contain call credentials.
 * - 'grpc-js-release': the installed grpc-js lacks private names that direct calls use.
 *
 * A minor version may add reasons; handle unknown ones in a default branch.
 */
export type ChannelPathReason = 'disabled' | 'resolver' | 'send-compression' | 'call-credentials' | 'grpc-js-release';

/**
 * Path that a client's calls take. Calls with grpc-js interceptors, or with the option `host`, `parent`, or `credentials`, always pass
 * through grpc-js's channel.
 */
export type CallPath =
  | { readonly direct: true }
  /** `reason` states why calls do not run directly on a connection. */
  | { readonly direct: false; readonly reason: ChannelPathReason };
