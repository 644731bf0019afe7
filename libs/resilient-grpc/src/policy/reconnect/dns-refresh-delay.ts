import type { Random } from '../../time/random.js';

/** Maximum jitter, as a share of the delay to which it is added. Spreads the lookups of one name by many clients over time. */
const JITTER = 0.2;
/** Maximum delay in milliseconds while lookups fail, before jitter. If `refreshMs` is longer, the delay is `refreshMs`. */
const MAX_FAILURE_DELAY_MS = 30_000;

/**
 * Returns the milliseconds from the end of one lookup to the next. `failures`: consecutive lookups that failed; the delay doubles with
 * each, because the lookups of many clients would otherwise keep a name server overloaded. The delay is never shorter than `refreshMs`,
 * which is at least grpc-js's minimum interval between two lookups.
 */
export function dnsRefreshDelayMs(refreshMs: number, failures: number, random: Random): number {
  const delayMs = Math.max(refreshMs, Math.min(refreshMs * 2 ** failures, MAX_FAILURE_DELAY_MS));
  return delayMs * (1 + JITTER * random());
}
