import { jitter, type Random } from '../../time/random.js';

/** Backoff after the first failed connection attempt, in milliseconds. grpc-js multiplies it by 1.6 after each further failure. */
const FIRST_BACKOFF_MS = 1_000;
const FIRST_BACKOFF_JITTER = 0.5;
/** Maximum backoff in milliseconds, before grpc-js's jitter of ±20%. */
export const MAX_BACKOFF_MS = 5_000;
const GROWTH = 1.6;
const JITTER = 0.2;

/** Lifetime in milliseconds below which a connection that closes without a response counts as a failed connection attempt. */
export const SHORT_LIVED_MS = 1_000;

/**
 * Returns the first backoff to configure in grpc-js, in milliseconds, with jitter. grpc-js itself does not jitter the first backoff, so
 * the clients of one server would otherwise reconnect at the same moment.
 */
export function firstBackoffMs(maxMs: number, random: Random): number {
  return Math.min(Math.round(jitter(FIRST_BACKOFF_MS, FIRST_BACKOFF_JITTER, random)), maxMs);
}

/**
 * Returns the milliseconds until the next connection attempt, given that `count` consecutive connections (1 or more) closed immediately
 * after they were established. Replaces grpc-js's backoff, which READY resets, with the backoff of failed connection attempts.
 */
export function shortLivedBackoffMs(count: number, random: Random): number {
  return jitter(Math.min(FIRST_BACKOFF_MS * GROWTH ** Math.max(count - 1, 0), MAX_BACKOFF_MS), JITTER, random);
}
