import type { TimerOptions } from 'node:timers';
import type * as TimersPromises from 'node:timers/promises';
import { createRequire, syncBuiltinESMExports } from 'node:module';
import { Subscription, type SchedulerLike } from 'rxjs';
import { onTestFinished, vi } from 'vitest';

/** Fake timers of this process; they fire only when the test advances them. */
export interface HeldTimers {
  /** Moves `Date` and `performance` forward and runs the timers that are due. */
  advance(ms: number): Promise<void>;
  /** Polls in real time until `condition` is true, because `waitFor` would use a fake timer. Fails after 20 s. */
  until(condition: () => unknown): Promise<void>;
  /**
   * RxJS scheduler on the fake timers, for operators. The default scheduler of RxJS uses `setInterval`, which stays real because
   * grpc-js closes unused connections with it.
   */
  readonly scheduler: SchedulerLike;
}

const { setTimeout: realTimeout } = globalThis;
/** The module node:timers/promises, whose timers Terminus 12 uses. */
const promised = createRequire(import.meta.url)('node:timers/promises') as typeof TimersPromises;
const { setTimeout: realPromised } = promised;
const realNow = performance.now.bind(performance);
const UNTIL_MS = 20_000;

/**
 * Replaces `setTimeout()`, `Date`, and `performance` of this process with fakes until the test ends. Sockets and the event loop keep
 * running. No delay elapses too early on a busy machine, and no test waits for a delay.
 */
export function holdTimers(): HeldTimers {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance', 'Date'] });
  replacePromised(heldPromised);
  onTestFinished(releaseTimers);
  return {
    advance: async (ms) => {
      await vi.advanceTimersByTimeAsync(ms);
    },
    until: async (condition) => {
      const endsAt = realNow() + UNTIL_MS;
      while (!condition()) {
        if (realNow() > endsAt) throw new Error(`Waited ${String(UNTIL_MS)} ms for: ${String(condition)}`);
        await new Promise((resolve) => realTimeout(resolve, 5));
      }
    },
    scheduler: {
      now: () => Date.now(),
      schedule: (work, delayMs = 0, state) => {
        // The cast is safe because this library's operators pass functions that do not use `this`.
        const timer = setTimeout(work as (state: unknown) => void, delayMs, state);
        return new Subscription(() => {
          clearTimeout(timer);
        });
      },
    },
  };
}

/** Restores the real timers. Also runs at the end of each test that calls `holdTimers()`. */
export function releaseTimers(): void {
  vi.useRealTimers();
  replacePromised(realPromised);
}

/** `setTimeout` of node:timers/promises on the fake timers. */
function heldPromised<T = void>(ms?: number, value?: T, options: TimerOptions = {}): Promise<T> {
  const { signal } = options;
  return new Promise((resolve) => {
    // Calls the real function, which rejects immediately if its signal is aborted.
    const abort = () => {
      clearTimeout(timer);
      resolve(realPromised(ms, value, options));
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', abort);
      // The cast is safe because T is void if no value is passed.
      resolve(value as T);
    }, ms);
    if (signal?.aborted === true) abort();
    else signal?.addEventListener('abort', abort, { once: true });
  });
}

function replacePromised(setTimeout: typeof realPromised): void {
  promised.setTimeout = setTimeout;
  syncBuiltinESMExports();
}
