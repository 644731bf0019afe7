/** What the process holds when all is cleaned up. */
export interface Held {
  readonly rssMb: number;
  readonly heapMb: number;
  /** Sockets, timers and the like that keep it alive. */
  readonly handles: number;
}

/** After a garbage collection; needs `--expose-gc`. */
export function heldNow(): Held {
  gc?.();
  const { rss, heapUsed } = process.memoryUsage();
  return { rssMb: rss / 1e6, heapMb: heapUsed / 1e6, handles: process.getActiveResourcesInfo().length };
}
