/** A service config that allows retries for all methods. */
export const RETRIES = {
  methodConfig: [
    {
      name: [{}],
      retryPolicy: {
        maxAttempts: 5,
        initialBackoff: '0.1s',
        maxBackoff: '2s',
        backoffMultiplier: 2,
        retryableStatusCodes: ['UNAVAILABLE'],
      },
    },
  ],
};

/**
 * Channel options of grpc-js for lost connections: a reconnect backoff of 0.1 to 0.5 s instead of 1 to 120 s, keepalive, and retries for the
 * status codes that a killed server causes.
 */
export const TUNED_CHANNEL = {
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 500,
  'grpc.keepalive_time_ms': 10_000,
  'grpc.keepalive_timeout_ms': 5_000,
  'grpc.keepalive_permit_without_calls': 1,
  'grpc.service_config': JSON.stringify({
    methodConfig: RETRIES.methodConfig.map(({ name, retryPolicy }) => ({
      name,
      retryPolicy: { ...retryPolicy, retryableStatusCodes: ['UNAVAILABLE', 'CANCELLED', 'INTERNAL'] },
    })),
  }),
};

/** Timeout of each unary call in the tuned contenders, in milliseconds. */
export const TUNED_TIMEOUT_MS = 10_000;

/**
 * Channel options that give each contender on grpc-js a separate connection. By default, grpc-js shares connections between clients of the
 * same target.
 */
export const OWN_CONNECTION = { 'grpc.use_local_subchannel_pool': 1 };
