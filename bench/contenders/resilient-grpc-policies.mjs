import { open as openWith } from './resilient-grpc.mjs';

/**
 * Ours with a deadline, a retry policy and its budget, and a breaker.
 *
 * @param {string} address
 */
export function open(address) {
  return openWith(address, {
    timeoutMs: 60_000,
    methods: { '*': { circuitBreaker: {} } },
    serviceConfig: {
      methodConfig: [
        {
          name: [{}],
          retryPolicy: {
            maxAttempts: 4,
            initialBackoff: '0.1s',
            maxBackoff: '2s',
            backoffMultiplier: 2,
            retryableStatusCodes: ['UNAVAILABLE'],
          },
        },
      ],
    },
  });
}
