import type { GrpcOptions } from '@nestjs/microservices';

/**
 * The best grpc-js options for lost connections. Methods that are safe to repeat are retried for the usual status codes of a lost
 * connection, with 5 attempts, the maximum of grpc-js. Keepalive is enabled. The reconnect backoff is 0.1 to 0.5 s instead of 1 to 120 s.
 */
export const TUNED_OPTIONS = tunedOptions();

/** Returns {@link TUNED_OPTIONS} with additional keys in the service config. */
export function tunedOptions(serviceConfig: object = {}): Pick<GrpcOptions['options'], 'channelOptions' | 'keepalive'> {
  return {
    keepalive: { keepaliveTimeMs: 10_000, keepaliveTimeoutMs: 5_000, keepalivePermitWithoutCalls: 1 },
    channelOptions: {
      'grpc.initial_reconnect_backoff_ms': 100,
      'grpc.max_reconnect_backoff_ms': 500,
      'grpc.service_config': JSON.stringify({
        ...serviceConfig,
        methodConfig: [
          {
            name: [
              { service: 'orders.v1.Orders', method: 'Get' },
              { service: 'orders.v1.Orders', method: 'Watch' },
            ],
            retryPolicy: {
              maxAttempts: 5,
              initialBackoff: '0.1s',
              maxBackoff: '2s',
              backoffMultiplier: 2,
              // A forced server shutdown surfaces as CANCELLED, and a stream that ends without a status as INTERNAL.
              retryableStatusCodes: ['UNAVAILABLE', 'CANCELLED', 'INTERNAL'],
            },
          },
        ],
      }),
    },
  };
}
