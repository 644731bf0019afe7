import { captureLeaks, seededRandom } from 'nestjs-resilient-grpc/testing';
import { judge } from './judge.js';
import { upstreamKinds } from './kinds.js';
import type { Length, Measured, Situation } from './situation.js';

export interface PlayOptions {
  readonly length: Length;
  readonly seed: number;
  readonly say: (line: string) => void;
  readonly signal?: AbortSignal | undefined;
}

/** How a play went. */
export interface Play {
  readonly measured: Measured;
  /** What is not as promised; nothing when all is well. */
  readonly broken: readonly string[];
  readonly seconds: number;
}

/**
 * Plays `situation` once, cleans up behind it, and sees that nothing is left.
 * @throws what the play or its clean-up failed with, or the signal's reason
 */
export async function playSituation(situation: Situation, { length, seed, say, signal }: PlayOptions): Promise<Play> {
  const beganAt = performance.now();
  const leaks = captureLeaks();
  const random = seededRandom(seed);
  const ending: (() => unknown)[] = [];
  const abort = signal ?? new AbortController().signal;
  // Short, always the same; full, in turn by the seed.
  const kinds = upstreamKinds(length === 'full' && random() < 0.5);
  let measured: Measured;
  try {
    const play = situation.play({
      length,
      random,
      kinds,
      signal: abort,
      say,
      onEnd: (cleanUp) => void ending.push(cleanUp),
    });
    measured = await Promise.race([play, aborted(abort)]);
  } catch (error) {
    // Now, for the clean-up of what hangs takes its time.
    say(`failed: ${String(error)}`);
    throw error;
  } finally {
    for (const cleanUp of ending.reverse()) await cleanUp();
  }
  await leaks.settled({ timeoutMs: 5_000 });
  return { measured, broken: judge(situation, measured), seconds: (performance.now() - beganAt) / 1_000 };
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const end = () => {
      // An AbortSignal's reason may be anything; whoever aborts gives an Error.
      reject(signal.reason as Error);
    };
    if (signal.aborted) end();
    else signal.addEventListener('abort', end, { once: true });
  });
}
