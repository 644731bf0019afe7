import { systemClock } from '../../time/clock.js';
import type { Clock } from '../../time/clock.js';
import { systemRandom } from '../../time/random.js';
import { ChaosError } from './chaos-error.js';
import type { ChaosFault } from './chaos-fault.js';
import { planChaos } from './plan-chaos.js';
import type { ChaosPlan, ChaosPlanOptions } from './plan-chaos.js';
import { playChaos } from './play-chaos.js';
import { within } from './within.js';

// Longer than the start timeout of ChildServer, whose own error is more specific.
const DEFAULT_GRACE_MS = 20_000;

/** Options common to all chaos runs. */
export interface ChaosSettings {
  readonly faults: readonly ChaosFault[];
  /** Ends the run immediately when aborted, and heals the active fault. */
  readonly signal?: AbortSignal | undefined;
  /**
   * Maximum time, in milliseconds, for each `begin`, for each `end`, and for `run` to end after its signal was aborted. When it is
   * exceeded, chaos fails with an error that names the operation. @defaultValue 20 000
   */
  readonly graceMs?: number | undefined;
  /** Clock for fault times and `graceMs`. @defaultValue the system clock */
  readonly clock?: Clock | undefined;
}

/** Options of a chaos run that draws its plan from a seed. */
export interface SeededChaosOptions extends ChaosSettings, Omit<ChaosPlanOptions, 'seed' | 'faults'> {
  /** Seed of the plan. @defaultValue a random seed, which the error message contains */
  readonly seed?: number | undefined;
  readonly plan?: undefined;
}

/** Options of a chaos run that plays a given plan, either a recorded or a custom one. */
export interface PlannedChaosOptions extends ChaosSettings {
  readonly plan: ChaosPlan;
}

/** Options of a chaos run, with a plan to draw or to play. */
export type ChaosOptions = SeededChaosOptions | PlannedChaosOptions;

/** The argument of the function that runs under chaos. */
export interface ChaosRun {
  readonly plan: ChaosPlan;
  /** Aborted when the plan, including its quiet time, is over, or when chaos ends early. */
  readonly signal: AbortSignal;
}

/**
 * Runs `run` while injecting faults according to a plan. Resolves to the result of `run` when it has ended; the rest of the plan is then
 * skipped. A load should run until `signal` is aborted: `while (!signal.aborted)`. When the returned promise settles, every fault is
 * healed, except one that the error names. A fault may take longer than planned, for example to start a server. Later faults are then
 * delayed, so that their distances never shrink.
 * @throws ChaosError with the seed and the faults so far, if `run` fails, if a fault fails to start, fails to heal, or hangs, or if the
 * `signal` of the options is aborted
 * @throws RangeError if no plan can be drawn, or if the plan names an unknown fault
 */
export async function chaos<T>(options: ChaosOptions, run: (chaos: ChaosRun) => Promise<T>): Promise<T> {
  const { faults, clock = systemClock, signal: aborted, graceMs = DEFAULT_GRACE_MS } = options;
  if (!(graceMs > 0)) throw new RangeError(`chaos: expected graceMs to be greater than 0, got ${graceMs}`);
  const plan = options.plan ?? planChaos({ ...options, seed: options.seed ?? Math.floor(systemRandom() * 2 ** 32) });
  if (aborted?.aborted === true) throw new ChaosError(plan, [], [aborted.reason]);
  const end = new AbortController();
  const over = new AbortController();

  const { played, finished } = playChaos(plan, { faults, clock, ended: end.signal, aborted, graceMs });
  const running = (async () => run({ plan, signal: over.signal }))();
  const whole = finished.then(() => {
    over.abort();
    return within(running, {
      clock,
      ms: graceMs,
      what: 'run did not end after its signal was aborted',
      signal: end.signal,
    });
  });
  const abortion = abortOf(aborted);
  const ended = await outcomeOf(Promise.race([running, whole, abortion.promise]));
  abortion.forget();
  end.abort();
  over.abort();
  const healed = await outcomeOf(finished);
  const causes = [ended, healed].flatMap((outcome) => ('error' in outcome ? [outcome.error] : []));
  if (causes.length > 0 || 'error' in ended) throw new ChaosError(plan, played, causes);
  return ended.value;
}

type Outcome<T> = { readonly value: T } | { readonly error: unknown };

function outcomeOf<T>(promise: Promise<T>): Promise<Outcome<T>> {
  return promise.then(
    (value) => ({ value }),
    (error: unknown) => ({ error }),
  );
}

/** Returns a promise that rejects with the signal's reason on abort. `forget` removes the listener. */
function abortOf(signal: AbortSignal | undefined): { readonly promise: Promise<never>; forget(): void } {
  let abort: () => void = () => undefined;
  const promise = new Promise<never>((_, reject) => {
    abort = () => {
      reject(signal?.reason as Error);
    };
    signal?.addEventListener('abort', abort, { once: true });
  });
  return {
    promise,
    forget: () => {
      signal?.removeEventListener('abort', abort);
    },
  };
}
