import { createRequire, syncBuiltinESMExports } from 'node:module';
import { onTestFinished, vi } from 'vitest';

/** The timers of this process while a test holds them: they fire only in `advance`. */
export interface HeldTimers {
  /** Moves both clocks forward and runs the timers that are due. */
  advance(ms: number): Promise<void>;
  /** Polls in real time until `condition` is true; `waitFor` would wait for a held timer. Fails after 20 s. */
  until(condition: () => unknown): Promise<void>;
}

const { setTimeout: realTimeout } = globalThis;
/** Terminus 12 waits by these. */
const promised = createRequire(import.meta.url)('node:timers/promises') as { setTimeout: unknown };
const { setTimeout: realPromised } = promised;
const realNow = performance.now.bind(performance);
const UNTIL_MS = 20_000;

/**
 * Holds `setTimeout()` and both clocks of this process until the test ends. Sockets and turns of the event loop go on, so that a delay
 * of any length is neither over too early on a busy machine nor waited for.
 */
export function holdTimers(): HeldTimers {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance', 'Date'] });
  replacePromised((ms?: number) => new Promise<void>((resolve) => void setTimeout(resolve, ms)));
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
  };
}

/** Ends `holdTimers` before the test ends. */
export function releaseTimers(): void {
  vi.useRealTimers();
  replacePromised(realPromised);
}

function replacePromised(setTimeout: unknown): void {
  promised.setTimeout = setTimeout;
  syncBuiltinESMExports();
}
