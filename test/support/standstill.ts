import { monitorEventLoopDelay } from 'node:perf_hooks';

const RESOLUTION_MS = 10;

/** How long this process has stood still at most since: what a busy machine adds to every time that is measured in it. */
export function longestStandstill(): () => number {
  const delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  delay.enable();
  return () => Math.max(0, delay.max / 1e6 - RESOLUTION_MS);
}
