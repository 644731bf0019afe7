import { backoffMs } from '../policy/retry/backoff.js';
import type { Random } from '../time/random.js';

/** Backoff of a Watch that is restarted. */
export const WATCH_PACE = Object.freeze({
  initialBackoffMs: 1_000,
  maxBackoffMs: 30_000,
  backoffMultiplier: 1.6,
  /** A Watch that received a response and lasted at least this long restarts immediately. */
  minHealthyMs: 1_000,
  /** Upper limit of the random delay of an immediate restart, so that not all clients of a server restart at the same moment. */
  atOnceMs: 100,
});

/** Outcome of a Watch. */
export interface EndedWatch {
  readonly answered: boolean;
  readonly livedMs: number;
  /** Number of consecutive earlier Watches that ended without a response. */
  readonly failures: number;
}

/** Delay before the next Watch, and the number of consecutive failures from then on. */
export interface NextWatch {
  readonly delayMs: number;
  readonly failures: number;
}

/**
 * Decides when the next Watch starts. A response resets the backoff, so that it starts immediately (gRFC A17). A server that ends the Watch
 * right after its response would be called without a pause, so the next Watch then waits for the first backoff.
 */
export function nextWatch({ answered, livedMs, failures }: EndedWatch, random: Random): NextWatch {
  if (answered && livedMs >= WATCH_PACE.minHealthyMs) {
    return { delayMs: WATCH_PACE.atOnceMs * random(), failures: 0 };
  }
  const before = answered ? 0 : failures;
  return { delayMs: backoffMs(WATCH_PACE, before, random), failures: before + 1 };
}
