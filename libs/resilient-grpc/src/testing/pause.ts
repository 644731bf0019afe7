import type { Clock } from '../time/clock.js';
import { Wait } from '../time/wait.js';

/** Waits for `ms` milliseconds, or until `signal` is aborted. Resolves to false on abort, and to true otherwise. */
export async function pause(ms: number, clock: Clock, signal: AbortSignal): Promise<boolean> {
  if (signal.aborted) return false;
  const wait = new Wait(clock, ms);
  const end = () => wait.end();
  signal.addEventListener('abort', end);
  await wait.over;
  signal.removeEventListener('abort', end);
  return !signal.aborted;
}
