/** Maximum delay of a timer, about 24 days. Node fires a longer one after 1 ms, which would turn a distant deadline into a busy loop. */
export const MAX_TIMER_MS = 2 ** 31 - 1;
