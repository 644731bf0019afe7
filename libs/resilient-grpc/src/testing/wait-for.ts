import { systemClock } from '../time/clock.js';

/** Options of `waitFor`. */
export interface WaitForOptions {
  /** @defaultValue 5 000 */
  readonly timeoutMs?: number | undefined;
  /** What is waited for, and what there is instead; asked when the time is over. */
  readonly describe?: string | (() => string) | undefined;
  /** How often the condition is asked. @defaultValue 5 */
  readonly intervalMs?: number | undefined;
}

/** `T` without what is false in a condition. */
export type Truthy<T> = Exclude<T, false | null | undefined | 0 | ''>;

/** A pause that lasts this much longer shows that this process did not run; the rest of it is not waiting time. */
const MAX_LAG_MS = 100;
/** A standstill extends the time by as much again, or by this. */
const MIN_EXTENSION_MS = 10_000;

/**
 * Polls until `condition` returns a truthy value, and resolves to that. A condition that throws counts as not met yet. Time in
 * which the system had stopped this process is not part of `timeoutMs`.
 * @throws Error with `describe` in its message, and the last error of the condition as its cause, after `timeoutMs`
 */
export async function waitFor<T>(
  condition: () => T | Promise<T>,
  { timeoutMs = 5_000, describe = 'the condition', intervalMs = 5 }: WaitForOptions = {},
): Promise<Truthy<T>> {
  let endsAt = systemClock.now() + timeoutMs;
  const endsAtLatest = endsAt + Math.max(timeoutMs, MIN_EXTENSION_MS);
  for (;;) {
    let cause: unknown;
    try {
      const value = await condition();
      // True: only what is truthy passes.
      if (value) return value as Truthy<T>;
    } catch (error) {
      cause = error;
    }
    if (systemClock.now() >= endsAt) {
      const what = typeof describe === 'string' ? describe : describe();
      throw new Error(`Waited ${timeoutMs} ms for: ${what}`, cause === undefined ? {} : { cause });
    }
    const pausedAt = systemClock.now();
    await pause(intervalMs);
    const stoppedMs = Math.max(0, systemClock.now() - pausedAt - intervalMs - MAX_LAG_MS);
    endsAt = Math.min(endsAt + stoppedMs, endsAtLatest);
  }
}

/** Resolves in a turn of the event loop of its own, after `ms`, so that the timer itself is over by then. */
function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    systemClock.setTimer(
      () => {
        systemClock.defer(resolve);
      },
      ms,
      true,
    );
  });
}
