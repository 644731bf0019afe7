import type { Random } from '../../time/random.js';

/** Minimum duration of a stable watch in milliseconds. A stable watch ends a series of failures, even if the watch then fails. */
export const STABLE_MS = 10_000;
/**
 * Maximum delay in milliseconds after a stable watch. All watches end together if the API server restarts, so each client's delay is
 * random.
 */
const SPREAD_MS = 1_000;
const FIRST_BACKOFF_MS = 1_000;
/** Maximum backoff in milliseconds; the same as in client-go's reflector. */
const MAX_BACKOFF_MS = 30_000;

/**
 * Returns the milliseconds from the end of a watch to the next request.
 *
 * @param failures number of consecutive watches that could not be opened, or that ended within `STABLE_MS`, even without an error
 */
export function watchDelayMs(failures: number, random: Random): number {
  if (failures === 0) return SPREAD_MS * random();
  const capped = Math.min(FIRST_BACKOFF_MS * 2 ** (failures - 1), MAX_BACKOFF_MS);
  return capped * (0.5 + 0.5 * random());
}
