import { jitter, type Random } from '../../time/random.js';

const FIRST_MS = 1_000;
const LONGEST_MS = 5_000;
const GROWTH = 1.6;
const JITTER = 0.2;

/**
 * Milliseconds until the next try after `count` connections in a row (1 = first) were established and died at once: as long
 * as if they had failed to connect, since READY starts grpc-js's own backoff afresh.
 */
export function shortLivedBackoffMs(count: number, random: Random): number {
  return jitter(Math.min(FIRST_MS * GROWTH ** Math.max(count - 1, 0), LONGEST_MS), JITTER, random);
}
