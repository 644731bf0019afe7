/** Resources that the process holds after cleanup. */
export interface Held {
  readonly rssMb: number;
  readonly heapMb: number;
  /** Number of sockets, timers, and other resources that keep the event loop running. */
  readonly handles: number;
}

/** Measures the resources of the process; with `--expose-gc`, after a garbage collection. */
export function heldNow(): Held {
  gc?.();
  const { rss, heapUsed } = process.memoryUsage();
  return { rssMb: rss / 1e6, heapMb: heapUsed / 1e6, handles: process.getActiveResourcesInfo().length };
}
