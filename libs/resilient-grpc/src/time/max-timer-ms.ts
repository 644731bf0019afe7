/**
 * Maximum delay of a timer in milliseconds, which is 24.8 days. Node fires a longer timer after 1 ms, so a distant deadline would cause a
 * busy loop.
 */
export const MAX_TIMER_MS = 2 ** 31 - 1;
