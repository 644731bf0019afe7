import * as v from 'valibot';
import { errorMessage } from '../errors/error-message.js';
import { requireOptions } from '../policy/options/option-problems.js';
import { millisecondsOrNever, object } from '../policy/options/option-schemas.js';
import { realClock } from './real-clock.js';
import { Wait } from '../time/wait.js';

/** Options of `waitFor`. */
export interface WaitForOptions {
  /**
   * Maximum waiting time in milliseconds, 0 or more; `Infinity` waits without a limit. The default is below the test timeout of Jest and
   * Vitest (5,000), so that `waitFor` throws its error before the test times out.
   * @defaultValue 4,000
   */
  readonly timeoutMs?: number | undefined;
  /**
   * Description of the expected and actual state for the error message. If this is a function, it is called when the timeout expires.
   * @defaultValue 'the condition'
   */
  readonly describe?: string | (() => string) | undefined;
  /** Polling interval in milliseconds, 0 or more. @defaultValue 5 */
  readonly intervalMs?: number | undefined;
}

/** `T` without its falsy values. */
export type Truthy<T> = Exclude<T, false | null | undefined | 0 | ''>;

/**
 * Maximum overrun of a pause, in milliseconds, that counts as waiting time. A longer overrun means that the process was stopped or blocked;
 * its excess extends the timeout.
 */
const MAX_LAG_MS = 100;
/**
 * Limit, in milliseconds, on the extension of the timeout for stops of this process. If `timeoutMs` is larger, it is the limit instead.
 */
const MIN_EXTENSION_MS = 10_000;

const optionsSchema = object(
  {
    timeoutMs: v.optional(millisecondsOrNever(0)),
    describe: v.optional(v.unknown()),
    intervalMs: v.optional(millisecondsOrNever(0)),
  } as const satisfies Record<keyof WaitForOptions, unknown>,
  'options such as { timeoutMs: 10_000 }',
);

/**
 * Polls until `condition` returns a truthy value, and resolves to that value. A condition that throws counts as not met. Time during which
 * this process was stopped or blocked between polls extends the timeout, by at most 10 s or `timeoutMs`, whichever is larger. The timeout
 * does not interrupt a promise that `condition` has returned. Fake timers that are installed after this module is loaded have no effect.
 * @throws GrpcConfigurationError if an option is unknown or invalid
 * @throws Error after `timeoutMs`, with `describe` in its message, and with the error that the last poll threw, if any, as its cause
 */
export async function waitFor<T>(condition: () => T | Promise<T>, options: WaitForOptions = {}): Promise<Truthy<T>> {
  requireOptions(optionsSchema, options, 'waitFor');
  const { timeoutMs = 4_000, describe = 'the condition', intervalMs = 5 } = options;
  let endsAt = realClock.now() + timeoutMs;
  const endsAtLatest = endsAt + Math.max(timeoutMs, MIN_EXTENSION_MS);
  for (;;) {
    let cause: unknown;
    try {
      const value = await condition();
      // Safe cast: the value is truthy.
      if (value) return value as Truthy<T>;
    } catch (error) {
      cause = error;
    }
    if (realClock.now() >= endsAt) {
      const what = typeof describe === 'string' ? describe : describe();
      if (cause === undefined) throw new Error(`Waited ${timeoutMs} ms for: ${what}`);
      throw new Error(`Waited ${timeoutMs} ms for: ${what}; the last poll failed: ${errorMessage(cause)}`, { cause });
    }
    const pausedAt = realClock.now();
    // The wait ends in a later turn of the event loop, so that its timer is no longer active when `condition` runs.
    await new Wait(realClock, intervalMs, true).over;
    const stoppedMs = Math.max(0, realClock.now() - pausedAt - intervalMs - MAX_LAG_MS);
    endsAt = Math.min(endsAt + stoppedMs, endsAtLatest);
  }
}
