import type { waitFor } from 'nestjs-resilient-grpc/testing';

const MAX_TRIES = 50;

/**
 * Repeats `run` until it returns a truthy value, and resolves to that value. Use it for events that may not occur on a busy machine,
 * such as the arrival of a call at the server before a short deadline. Unlike `waitFor`, it fails with the first error that `run` throws.
 *
 * @throws Error that names `event` if 50 runs return no truthy value
 */
export async function repeatUntil<T>(event: string, run: () => Promise<T>): ReturnType<typeof waitFor<T>> {
  for (let tries = 0; tries < MAX_TRIES; tries++) {
    const result = await run();
    // The cast is safe because `result` is truthy.
    if (result) return result as Awaited<ReturnType<typeof waitFor<T>>>;
  }
  throw new Error(`${MAX_TRIES} tries without this event: ${event}`);
}
