import { waitFor, type Truthy, type WaitForOptions } from 'nestjs-resilient-grpc/testing';

/** Ends a play that hangs. Far beyond what a busy machine needs, so that it never decides a play that makes progress. */
const HANGS_AFTER_MS = 90_000;

/** Waits until `condition` gives something true, however busy the machine is, and resolves to that. */
export function reach<T>(
  condition: () => T | Promise<T>,
  options: Pick<WaitForOptions, 'describe' | 'intervalMs' | 'timeoutMs'> = {},
): Promise<Truthy<T>> {
  return waitFor(condition, { timeoutMs: HANGS_AFTER_MS, ...options });
}
