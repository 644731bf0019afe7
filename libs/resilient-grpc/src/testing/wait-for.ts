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

/**
 * Polls until `condition` gives something true, and resolves to that. A condition that throws counts as not met yet.
 * @throws Error with `describe` in its message, and what the condition threw last as its cause, after `timeoutMs`
 */
export async function waitFor<T>(
  condition: () => T | Promise<T>,
  { timeoutMs = 5_000, describe = 'the condition', intervalMs = 5 }: WaitForOptions = {},
): Promise<Truthy<T>> {
  const endsAt = systemClock.now() + timeoutMs;
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
    await pause(intervalMs);
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
