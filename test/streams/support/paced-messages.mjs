import { setTimeout as wait } from 'node:timers/promises';

/** Minimum wait. Shorter waits are skipped, because their timers are inaccurate. */
const MIN_WAIT_MS = 5;

/**
 * Limits reading to `perSecond` messages per second. Admits all due messages at once and then waits, because a timer per message would
 * be too slow. During the wait, the process can receive data.
 *
 * @param {number} perSecond Above 0; Infinity for no limit.
 * @returns {() => Promise<void> | undefined} To be called after each message. Returns `undefined` if no wait is due.
 */
export function pace(perSecond) {
  // If `perSecond` were 0, the computed wait would be Infinity, and a Node timer of Infinity ms fires after 1 ms.
  if (!(perSecond > 0)) throw new RangeError(`perSecond: expected a number above 0, got ${String(perSecond)}`);
  const beganAt = performance.now();
  let taken = 0;
  return () => {
    taken++;
    const earlyMs = (taken * 1_000) / perSecond - (performance.now() - beganAt);
    return earlyMs < MIN_WAIT_MS ? undefined : wait(earlyMs);
  };
}

/**
 * Generates messages of `size` bytes, each in a separate buffer, so that buffered messages show up in memory.
 *
 * @param {number} size
 * @param {number} count
 */
export function* chunks(size, count) {
  for (let number = 1; number <= count; number++) yield { data: Buffer.alloc(size, number), number };
}
