import { open as openWith } from './resilient-grpc.mjs';
import { RETRIES } from './tuned-options.mjs';

/**
 * Ours with a deadline, retries and their budget, and a breaker.
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
