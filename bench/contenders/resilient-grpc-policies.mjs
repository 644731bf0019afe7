import { open as openWith } from './resilient-grpc.mjs';
import { RETRIES } from './tuned-options.mjs';

/**
 * This library with a deadline, retries with a budget, and a circuit breaker.
 *
 * @param {string} address
 */
export function open(address) {
  return openWith(address, {
    timeoutMs: 60_000,
    methods: { '*': { circuitBreaker: {} } },
    serviceConfig: RETRIES,
  });
}
