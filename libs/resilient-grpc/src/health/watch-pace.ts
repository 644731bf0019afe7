import { backoffMs } from '../policy/retry/backoff.js';
import type { Random } from '../time/random.js';

/** Pace of a Watch that is begun again. */
export const WATCH_PACE = Object.freeze({
  initialBackoffMs: 1_000,
  maxBackoffMs: 30_000,
  backoffMultiplier: 1.6,
  /** One that was answered and lived so long is begun again at once. */
  minHealthyMs: 1_000,
  /** At once, but not all clients of a server in one moment. */
  atOnceMs: 100,
});

/** How a Watch ended. */
export interface EndedWatch {
  readonly answered: boolean;
  readonly livedMs: number;
  /** Watches before it that ended without an answer, in a row. */
  readonly failures: number;
}

/** When it is begun again, and what counts as failures in a row from then on. */
export interface NextWatch {
  readonly delayMs: number;
  readonly failures: number;
}

/**
 * An answer resets the backoff, so that the next one begins at once (gRFC A17). But who answers and then ends it right away would be
 * asked without a pause: he is asked after the first backoff.
 */
export function nextWatch({ answered, livedMs, failures }: EndedWatch, random: Random): NextWatch {
  if (answered && livedMs >= WATCH_PACE.minHealthyMs) {
    return { delayMs: WATCH_PACE.atOnceMs * random(), failures: 0 };
  }
  const before = answered ? 0 : failures;
  return { delayMs: backoffMs(WATCH_PACE, before, random), failures: before + 1 };
}
