/** A service config that lets every method be repeated, as all who read one understand it. */
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

/** What options make of a channel of grpc-js that is lost: a reconnect backoff of 0.1 to 0.5 s instead of 1 to 120 s; keepalive. */
export const TUNED_CONNECTION = {
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 500,
  'grpc.keepalive_time_ms': 10_000,
  'grpc.keepalive_timeout_ms': 5_000,
  'grpc.keepalive_permit_without_calls': 1,
};

/** The same with its own retries, with every code under which it reports a lost connection. */
export const TUNED_CHANNEL = {
  ...TUNED_CONNECTION,
  'grpc.service_config': JSON.stringify({
    methodConfig: RETRIES.methodConfig.map(({ name, retryPolicy }) => ({
      name,
      retryPolicy: { ...retryPolicy, retryableStatusCodes: ['UNAVAILABLE', 'CANCELLED', 'INTERNAL'] },
    })),
  }),
};

/** How long a call may take whose contender is set up as well as it can be, in milliseconds. */
export const TUNED_TIMEOUT_MS = 10_000;
