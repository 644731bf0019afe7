import { captureLeaks } from 'nestjs-resilient-grpc/testing';
import { seededRandom } from '../../unit-support/seeded-random.mjs';
import { judge, type Judgment } from './judge.js';
import { upstreamKinds } from './kinds.js';
import type { Measured, Run, Scenario } from './scenario.js';

export interface RunOptions extends Pick<Run, 'length' | 'which' | 'report'> {
  readonly seed: number;
  readonly signal?: AbortSignal | undefined;
}

export interface RunResult {
  readonly measured: Measured;
  readonly judgments: readonly Judgment[];
  readonly seconds: number;
}

/**
 * Runs `scenario` once, runs its cleanups, and checks that they leave no resource or call open.
 * @throws the error of the run or the reason of the aborted signal; otherwise, the error of the first cleanup that failed; otherwise, an
 * error that lists the open resources and calls
 */
export async function runScenario(
  scenario: Scenario,
  { length, which, seed, report, signal }: RunOptions,
): Promise<RunResult> {
  const beganAt = performance.now();
  const leaks = captureLeaks();
  const random = seededRandom(seed);
  const ending: (() => unknown)[] = [];
  const abort = signal ?? new AbortController().signal;
  // In a full run, the seed determines which upstreams use TLS. `npm test` uses only one upstream kind, which depends on the seed, to save
  // time.
  const all = upstreamKinds(length === 'full' && random() < 0.5);
  const kinds = which === 'counts' ? all.filter((_, index) => index === seed % all.length) : all;
  let measured: Measured;
  try {
    const measuring = scenario.measure({
      length,
      which,
      random,
      kinds,
      signal: abort,
      report,
      onEnd: (cleanUp) => void ending.push(cleanUp),
      closeAtEnd: (resource) => {
        ending.push(() => resource.close());
        return resource;
      },
    });
    measured = await Promise.race([measuring, aborted(abort)]);
  } catch (error) {
    // Reports the error before the cleanup, which can take a long time if the run hangs.
    report(`failed: ${String(error)}`);
    await cleanUpAll(ending, report);
    await endLeakCheck(leaks);
    throw error;
  }
  const [failedCleanUp] = await cleanUpAll(ending, report);
  if (failedCleanUp !== undefined) {
    await endLeakCheck(leaks);
    throw failedCleanUp;
  }
  await leaks.settled({ timeoutMs: 15_000 });
  const seconds = (performance.now() - beganAt) / 1_000;
  return { measured, judgments: judge(scenario, measured, length, which), seconds };
}

/** Ends the leak check, which would slow down later runs. Ignores leaks, because the run has already failed. */
async function endLeakCheck(leaks: ReturnType<typeof captureLeaks>): Promise<void> {
  await leaks.settled({ timeoutMs: 0 }).catch(() => undefined);
}

/** Runs all cleanups, the last one first, even if some throw; returns their errors. */
async function cleanUpAll(
  ending: readonly (() => unknown)[],
  report: (line: string) => void,
): Promise<readonly Error[]> {
  const errors: Error[] = [];
  for (const cleanUp of [...ending].reverse()) {
    try {
      await cleanUp();
    } catch (error) {
      report(`cleanup failed: ${String(error)}`);
      errors.push(error instanceof Error ? error : new Error(String(error)));
    }
  }
  return errors;
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const end = () => {
      // The reason of an AbortSignal may be any value, but callers of runScenario() abort with an Error.
      reject(signal.reason as Error);
    };
    if (signal.aborted) end();
    else signal.addEventListener('abort', end, { once: true });
  });
}
