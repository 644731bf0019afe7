import { jitter, type Random } from '../../time/random.js';

/** So many in a row are forgiven. */
const FORGIVEN = 5;
const FIRST_MS = 50;
const GROWTH = 2;
const JITTER = 0.5;

/**
 * Milliseconds until the next try after `count` connections in a row (1 = first) that the server ended in order (GOAWAY NO_ERROR)
 * when they were young and no call had been answered yet; undefined: one too many, it died at once like any other.
 *
 * A server that ends its connections by age does so in the middle of calls, which it goes on to answer: on a busy machine there may
 * be no answer on one, nor on the next. One that ends each connection whatever is asked of it must not be connected to without end.
 */
export function endedInOrderHoldOffMs(count: number, random: Random): number | undefined {
  if (count > FORGIVEN) return undefined;
  return count <= 1 ? 0 : jitter(FIRST_MS * GROWTH ** (count - 2), JITTER, random);
}
