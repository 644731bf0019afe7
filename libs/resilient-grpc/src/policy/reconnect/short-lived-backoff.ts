import { jitter, type Random } from '../../time/random.js';

const FIRST_BACKOFF_MS = 1_000;
const MAX_BACKOFF_MS = 5_000;
const GROWTH = 1.6;
const JITTER = 0.2;

/**
 * Returns the milliseconds until the next connection attempt after `count` connections in a row (1: the first) were established and
 * closed immediately. Replaces grpc-js's backoff, which READY resets, with the backoff of failed connection attempts.
 */
export function shortLivedBackoffMs(count: number, random: Random): number {
  return jitter(Math.min(FIRST_BACKOFF_MS * GROWTH ** Math.max(count - 1, 0), MAX_BACKOFF_MS), JITTER, random);
}
