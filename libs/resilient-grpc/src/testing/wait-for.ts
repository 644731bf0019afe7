import { performance } from 'node:perf_hooks';
import timers from 'node:timers';
import { errorMessage } from '../errors/error-message.js';

// Captured at module load, before a test installs fake timers. Taken from node:timers, because Jest with `fakeTimers: {
// enableGlobally: true }` has already replaced the global functions.
const { setTimeout, setImmediate } = timers;
const now = performance.now.bind(performance);

interface WaitForOptions {
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

type Truthy<T> = Exclude<T, false | null | undefined | 0 | ''>;

/**
 * Maximum overrun of a pause, in milliseconds, that counts as waiting time. A longer overrun means that the process was stopped or blocked;
 * its excess extends the timeout.
 */
const MAX_LAG_MS = 100;
/**
 * Limit, in milliseconds, on the extension of the timeout for stops of this process. If `timeoutMs` is larger, it is the limit instead.
 */
const MIN_EXTENSION_MS = 10_000;

/**
 * Polls until `condition` returns a truthy value, and resolves to that value. A condition that throws counts as not met. Time during which
 * this process was stopped or blocked between polls extends the timeout, by at most 10 s or `timeoutMs`, whichever is larger. The timeout
 * does not interrupt a promise that `condition` has returned. Fake timers that are installed after this module is loaded have no effect.
 * @throws Error after `timeoutMs`, with `describe` in its message, and with the error that the last poll threw, if any, as its cause
 */
export async function waitFor<T>(condition: () => T | Promise<T>, options: WaitForOptions = {}): Promise<Truthy<T>> {
  const { timeoutMs = 4_000, describe = 'the condition', intervalMs = 5 } = options;
  let endsAt = now() + timeoutMs;
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
    if (now() >= endsAt) {
      const what = typeof describe === 'string' ? describe : describe();
      if (cause === undefined) throw new Error(`Waited ${timeoutMs} ms for: ${what}`);
      throw new Error(`Waited ${timeoutMs} ms for: ${what}; the last poll failed: ${errorMessage(cause)}`, { cause });
    }
    const pausedAt = now();
    // Ends in a later turn of the event loop, after pending data is read, and when the timer no longer counts as active.
    await new Promise<void>((resolve) => {
      setTimeout(() => setImmediate(resolve), intervalMs);
    });
    const stoppedMs = Math.max(0, now() - pausedAt - intervalMs - MAX_LAG_MS);
    endsAt = Math.min(endsAt + stoppedMs, endsAtLatest);
  }
}
