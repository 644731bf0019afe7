import { setTimeout as wait } from 'node:timers/promises';

/** Below this a timer says little. */
const SLICE_MS = 5;

/**
 * Takes its time over messages, so that no more than `perSecond` are read. It takes what is due in one go and then yields: a
 * timer for each message would be slower than any pace worth asking about. While it waits its process is free to receive.
 *
 * @param {number} perSecond Infinity: does not wait.
 * @returns {() => Promise<void> | undefined} Called after each message; undefined: go on at once.
 */
export function pace(perSecond) {
  const beganAt = performance.now();
  let taken = 0;
  return () => {
    taken++;
    const early = (taken * 1_000) / perSecond - (performance.now() - beganAt);
    return early < SLICE_MS ? undefined : wait(early);
  };
}
