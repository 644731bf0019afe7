import { open as openWith } from './resilient-grpc.mjs';
import { RETRIES } from './tuned-options.mjs';

/**
 * Ours with every policy on: a deadline, an attempt timeout, retries, a breaker, limits.
 *
 * @param {string} address
 */
export function open(address) {
  return openWith(address, {
    timeoutMs: 60_000,
    maxConcurrentCalls: 10_000,
    methods: { '*': { attemptTimeoutMs: 30_000, circuitBreaker: {}, maxConcurrentCalls: 10_000 } },
    serviceConfig: RETRIES,
  });
}
