/** grpc-js shares connections between clients of one target; in the benchmark each contender has its own. */
export const OWN_CONNECTION = { 'grpc.use_local_subchannel_pool': 1 };
