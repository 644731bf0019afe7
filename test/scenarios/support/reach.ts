import { waitFor } from 'nestjs-resilient-grpc/testing';

/** Time limit for a condition that is never met; far beyond what a busy machine needs. */
const HANGS_AFTER_MS = 90_000;

/** Waits until `condition` returns a truthy value, even on a busy machine, and resolves to that value. */
export function reach<T>(
  condition: () => T | Promise<T>,
  options: Parameters<typeof waitFor>[1] = {},
): ReturnType<typeof waitFor<T>> {
  return waitFor(condition, { timeoutMs: HANGS_AFTER_MS, ...options });
}
