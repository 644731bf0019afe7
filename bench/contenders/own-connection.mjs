/**
 * Channel options that give each contender on grpc-js a separate connection. By default, grpc-js shares connections between clients of the
 * same target.
 */
export const OWN_CONNECTION = { 'grpc.use_local_subchannel_pool': 1 };
